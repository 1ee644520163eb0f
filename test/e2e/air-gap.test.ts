import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { z } from 'zod';
import { type SshSigners, withoutSshKeygen } from '../ssh-keys.ts';
import { programs } from '../system/program.ts';
import {
  type Finished,
  handTo,
  jsonLine,
  type ManifestRepository,
  makeTemporaryFolder,
  type RunningCollector,
  startProgram,
} from '../system.ts';
import {
  type EnforcedNode,
  eventually,
  follows,
  otherImage,
  outcomesOf,
  sleeping,
  startEnforcedNode,
  storyOf,
  told,
  wantedImage,
} from './enforce-world.ts';
import { shown } from './fleet.ts';
import { assertVerified, chainsOf, readLedger } from './ledger-audit.ts';
import { randomOf, seedOf } from './random.ts';
import { byApproval, type SignedWorld, startSignedWorld } from './signed-world.ts';
import { caughtUp, statusWhere } from './waiting.ts';

/** A node that is cut off for good, and what is carried to it and back. */
const folder = makeTemporaryFolder('sgw-ag-');
const needsKeys = { skip: withoutSshKeygen() };
const isLong = process.env.SIGILWATCH_TEST_LONG === '1';
const killsPerCommand = isLong ? 20 : 3;
const containers = [{ node: 'lyra', name: 'web', image: wantedImage, command: sleeping }];
const passive = byApproval(containers);

let world: SignedWorld;
let people: SshSigners;
let manifest: ManifestRepository;
let collector: RunningCollector;
let node: EnforcedNode;

before(async () => {
  if (needsKeys.skip !== false) return;
  world = await startSignedWorld({ folder: folder.path, manifest: passive });
  ({ people, manifest, collector } = world);
  node = await startEnforcedNode(collector, {
    ...{ name: 'lyra', folder: folder.path, env: world.trust },
    runs: async (engine) => {
      await engine.run({ name: 'web', image: wantedImage, cmd: sleeping });
    },
  });
  await follows(node);
  await caughtUp(node);
});

after(() => world?.stop());

let sticks = 0;

function newStick(): string {
  const stick = join(folder.path, `stick-${++sticks}`);
  mkdirSync(stick);
  // As the file systems of sticks are: without owners.
  chmodSync(stick, 0o777);
  return stick;
}

const exported = z.object({
  folder: z.string(),
  number: z.number(),
  entries: z.object({ first: z.number(), last: z.number() }).nullable(),
  running: z.boolean(),
});
const imported = z.object({
  imported: z.array(z.object({ entries: z.number(), fresh: z.number() })),
  refused: z.array(z.unknown()),
});
const taken = z.object({
  taken: z
    .object({ receipts: z.number(), orders: z.number(), commit: z.string().nullable(), images: z.array(z.string()) })
    .nullable(),
});

function saying<T>({ exitCode, stdout, stderr }: Finished, schema: z.ZodType<T>): T {
  assert.equal(exitCode, 0, stderr);
  return schema.parse(jsonLine(stdout));
}

const exportTo = async (stick: string) =>
  saying(await node.agent.cli('--json', 'bundle', 'export', '--to', stick), exported);
const importAt = async (stick: string) => saying(await collector.cli('--json', 'bundle', 'import', stick), imported);
const takeFrom = async (stick: string) => saying(await node.agent.cli('--json', 'bundle', 'import', stick), taken);

function cutOff(): void {
  node.wire.refuse(true);
  node.wire.cutAll();
}

async function actsOf(from: RunningCollector, event: string) {
  const rows = await from.list('/api/v1/entries?kind=auth.event', shown.entry);
  const acts = rows.map(({ entry }) =>
    z.object({ event: z.string(), actor: z.string(), subject: z.string() }).parse(entry.body),
  );
  return acts.filter((act) => act.event === event);
}

async function wholeLedger() {
  const entries = await readLedger(collector, folder.path);
  return { size: entries.length, chain: chainsOf(entries).get('lyra') ?? [] };
}

test('entries, receipts, a commit, an order with its approval: all of it by hand', needsKeys, async () => {
  const stick = newStick();
  cutOff();
  await statusWhere({ name: 'lyra', agent: node.agent }, 'cut off', ({ link }) => link.state === 'disconnected');
  await node.engine.run({ name: 'stranger', image: otherImage, cmd: sleeping });
  await statusWhere({ name: 'lyra', agent: node.agent }, 'sees the stranger', ({ openDrifts }) => openDrifts === 1);
  const first = await exportTo(stick);
  assert.ok(first.running && first.entries !== null);
  const before = await node.agent.status();
  assert.ok(before.outbox.depth > 0);
  const came = await importAt(stick);
  // The ledger may have some of them already: the line was cut before they were acknowledged.
  const [one] = came.imported;
  assert.ok(one !== undefined && one.fresh > 0 && one.entries === first.entries.last - first.entries.first + 1);
  // The collector knows of it now; a person decides, and signs.
  const signed = ['--as', 'alice', '--key', people.keyFile('alice'), '--allowed-signers', people.allowedSigners];
  const about = ['--node', 'lyra', '--action', 'terminate', '--container', 'stranger', '--reason', 'nobody knows it'];
  const said = await told(collector, 'orders', 'issue', ...about, '--confirm', 'stranger', ...signed);
  const { hash } = z.object({ hash: z.string() }).parse(said);
  assert.equal((await importAt(stick)).imported[0]?.fresh, 0);
  const acts = await actsOf(collector, 'bundle.imported');
  assert.deepEqual(
    acts.map(({ actor, subject }) => `${actor} ${subject}`),
    ['local lyra'],
    'once, since the second time brought nothing',
  );
  const { taken: result } = await takeFrom(stick);
  assert.ok(result !== null && result.receipts > 0);
  assert.equal(result.orders, 1);
  const isGone = async () => !(await node.containers()).some((one) => one.container.name === 'stranger');
  await eventually('the stranger is gone', isGone);
  const second = await exportTo(stick);
  assert.equal(second.entries?.first, (first.entries?.last ?? 0) + 1);
  await importAt(stick);
  assert.ok(outcomesOf(await storyOf(collector, hash)).includes('executed'));
  await takeFrom(stick);
});

test('a commit comes by hand, and is judged as if it had come over the wire', needsKeys, async () => {
  cutOff();
  const changed = { ...passive, config: { ...passive.config, grace_period_seconds: 7 } };
  const commit = manifest.commit(stringify(changed), people.keyFile('alice'));
  await told(collector, 'desired', 'refresh', '--server', collector.url, '--token-file', tokenFile());
  const stick = newStick();
  await exportTo(stick);
  await importAt(stick);
  assert.equal((await takeFrom(stick)).taken?.commit, commit);
  await statusWhere({ name: 'lyra', agent: node.agent }, 'follows it', (status) => status.commit === commit);
});

test(
  'kill -9 of every command at any moment loses nothing, and running it again ends what was begun',
  needsKeys,
  async () => {
    const random = randomOf(seedOf('kills of bundle commands'), 'kills');
    cutOff();
    const stick = newStick();
    const killed = async (as: 'agent' | 'collector', args: readonly string[], env: Record<string, string>) => {
      const user = { name: `sigilwatch-${as}`, groups: [] };
      for (let kill = 0; kill < killsPerCommand; kill += 1) {
        const program = startProgram({ name: args.join(' '), command: programs[as], args, env, user });
        await delay(random.int(50, 1_500));
        await program.kill9();
      }
    };
    const agentArgs = ['--config', join(node.dir, 'agent.yaml')];
    const agentEnv = { SIGILWATCH_DATA_DIR: node.dir, SIGILWATCH_MANIFEST_ALLOWED_SIGNERS: people.allowedSigners };
    await killed('agent', [...agentArgs, 'bundle', 'export', '--to', stick], agentEnv);
    const last = await exportTo(stick);
    await killed('collector', ['bundle', 'import', stick], {
      SIGILWATCH_DATA_DIR: collector.dir,
      ...world.env,
    });
    assert.deepEqual((await importAt(stick)).refused, []);
    await killed('agent', [...agentArgs, 'bundle', 'import', stick], agentEnv);
    await takeFrom(stick);
    const { outbox } = await node.agent.status();
    assert.ok(outbox.headSeq - outbox.depth >= (last.entries?.last ?? 0));
    assert.deepEqual(
      readdirSync(stick).filter((name) => name.endsWith('.unfinished')),
      [],
    );
    await assertVerified(collector);
  },
);

test('an agent that is killed while it has the answer takes it in when it comes back', needsKeys, async () => {
  cutOff();
  const stick = newStick();
  const { entries } = await exportTo(stick);
  await importAt(stick);
  await node.agent.kill9();
  const { taken: none } = await takeFrom(stick);
  assert.equal(none, null);
  await node.agent.restart();
  await statusWhere(
    { name: 'lyra', agent: node.agent },
    'the receipts count',
    ({ link }) => link.ackedSeq >= (entries?.last ?? 0),
  );
});

test('an agent that does not run is exported from as well', needsKeys, async () => {
  cutOff();
  await node.agent.stop();
  const stick = newStick();
  const { running, entries } = await exportTo(stick);
  assert.ok(!running && entries !== null);
  await importAt(stick);
  await takeFrom(stick);
  await node.agent.restart();
  await statusWhere(
    { name: 'lyra', agent: node.agent },
    'the receipts count',
    ({ link }) => link.ackedSeq >= entries.last,
  );
});

test(
  'a stick that comes long after the node is back changes nothing, and every entry is there once',
  needsKeys,
  async () => {
    cutOff();
    const stick = newStick();
    await exportTo(stick);
    const late = newStick();
    await cp(stick, late, { recursive: true });
    await importAt(stick);
    node.wire.refuse(false);
    await caughtUp(node);
    const { size } = await wholeLedger();
    const { imported: again } = await importAt(late);
    assert.equal(again[0]?.fresh, 0);
    const after = await wholeLedger();
    assert.ok(after.size >= size);
    const refusal = await node.agent.cli('--json', 'bundle', 'import', stick);
    assert.equal(refusal.exitCode, 4);
    assert.equal(jsonLine(refusal.stderr)?.error_code, 'bundle.replayed');
    await assertVerified(collector);
    rmSync(late, { recursive: true });
  },
);

test('a revoked node is refused with exit code 4', needsKeys, async () => {
  cutOff();
  const stick = newStick();
  await exportTo(stick);
  await told(collector, 'nodes', 'revoke', 'lyra', '--reason', 'the machine was sold');
  const { exitCode, stderr } = await collector.cli('--json', 'bundle', 'import', stick);
  assert.equal(exitCode, 4, stderr);
  assert.match(String(jsonLine(stderr)?.message), /revoked/);
});

function tokenFile(): string {
  const file = join(folder.path, 'token');
  writeFileSync(file, collector.token, { mode: 0o600 });
  handTo('sigilwatch-collector', file);
  return file;
}
