import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { engineAvailable, type OwnEngine, startEngine } from '../engines.ts';
import { flipByte, jsonLine, makeTemporaryFolder, type RunningWriter, startWriter, takeCareOf } from '../system.ts';
import { until } from '../until.ts';
import {
  type Fleet,
  type FleetNode,
  otherImage,
  running,
  secret,
  shown,
  startFleet,
  tearDown,
  wantedImage,
  wantedOn,
} from './fleet.ts';
import { assertSaidOnce, assertVerified, chainsOf, readLedger } from './ledger-audit.ts';
import { audit, checkProofFile, logAlone, parsePolicy, Rejected } from './tile-auditor.ts';
import { caughtUp, entryWhere, goesOn, statusWhere } from './waiting.ts';

const names = ['lyra', 'node1', 'node2', 'node3'];
/** Has a real engine, where one can be started. */
const realNode = 'node3';
const real = engineAvailable();
const seenWithinMs = 1_000;
const waitMs = 90_000;

const folder = makeTemporaryFolder('sgw-job-');
const writers = new Map<string, RunningWriter>();
let realEngine: OwnEngine | undefined;
let fleet: Fleet;

before(async () => {
  realEngine = real.ok ? await startEngine({ name: 'e', dir: folder.path }) : undefined;
  if (realEngine !== undefined) takeCareOf({ remove: realEngine.stop, removeNow: () => {} });
  fleet = await startFleet({
    dir: folder.path,
    nodes: names,
    wanted: ['web', 'db'],
    engines: realEngine === undefined ? {} : { [realNode]: realEngine.socketPath },
  });
  for (const { name, storeDir } of fleet.nodes) {
    writers.set(name, await startWriter({ dir: storeDir, tenant: name, secret, rate: 20 }));
  }
});

after(tearDown);

/** Waits for the one drift of a container that is in this state. */
async function drift(node: FleetNode, container: string, state: 'open' | 'resolved') {
  let found: z.infer<typeof driftShown> | undefined;
  const asked = async () => {
    const rows = await fleet.collector.list(`/api/v1/drifts?node=${node.name}&container=${container}`, driftShown);
    found = rows[0];
    return found?.state === state;
  };
  await until(`${node.name}: ${container} is ${state}`, asked, waitMs);
  assert.ok(found);
  return found;
}

const driftShown = shown.drift.extend({
  opened_at: z.string(),
  differences: z.array(
    z.object({ field: z.string(), desired: z.string().nullable(), observed: z.string().nullable() }),
  ),
});

const webOf = (node: FleetNode): string => wantedOn(node.name, 'web').name;

/** The wanted container, by its name: engines know them by that too. */
async function replaceWeb(node: FleetNode, image: string): Promise<void> {
  await node.api.remove(webOf(node));
  await node.api.run(running(webOf(node), image));
}

test('the nodes are in order at the beginning', async () => {
  for (const node of fleet.nodes) {
    await statusWhere(node, 'is in order', (status) => status.status === 'ok' && status.containers === 2);
    await caughtUp(node);
  }
  assert.deepEqual(await fleet.collector.list('/api/v1/drifts?state=open', shown.drift), []);
  assert.deepEqual(await fleet.collector.list('/api/v1/findings?state=open', shown.finding), []);
  const { exitCode, stdout, stderr } = await fleet.node('lyra').agent.cli('--json', 'scan', '--once');
  assert.equal(exitCode, 0, `${stderr}${stdout}`);
  assert.equal((await fleet.node('lyra').agent.cli('status')).exitCode, 0);
});

for (const name of names) {
  const skip = name === realNode && !real.ok ? real.reason : false;
  describe(`on ${name}${name === realNode ? ', a real engine' : ''}`, { skip }, () => {
    const here = () => fleet.node(name);
    /** A busy machine that passes over a scan makes gaps of its own, in which nothing happened. */
    const gapThatTells = (reason: string, life: string) =>
      entryWhere(fleet, { author: name, kind: 'coverage.gap' }, (gap) => {
        return gap.reason === reason && JSON.stringify(gap.rebuilt).includes(life);
      });

    test('an unauthorized container is in the ledger within a second, and resolved once it is gone', async () => {
      // A busy machine holds everybody up now and then: one of several has to be in time.
      let soonestMs = Number.POSITIVE_INFINITY;
      for (let turn = 0; turn < 10 && soonestMs > seenWithinMs; turn++) {
        const container = `intruder-${name}-${turn}`;
        const id = await here().api.create(running(container));
        const startedAt = Date.now();
        await here().api.start(id);
        const seen = await drift(here(), container, 'open');
        assert.equal(seen.kind, 'UNAUTHORIZED_CONTAINER');
        assert.equal(seen.container_id, id);
        soonestMs = Math.min(soonestMs, Date.parse(seen.opened_at) - startedAt);
        await here().api.remove(id);
        await drift(here(), container, 'resolved');
      }
      assert.ok(soonestMs <= seenWithinMs, `only after ${soonestMs} ms`);
    });

    test('a container that ended is missing until it runs again', async () => {
      await here().api.kill(webOf(here()));
      assert.equal((await drift(here(), webOf(here()), 'open')).kind, 'MISSING_CONTAINER');
      await here().api.start(webOf(here()));
      await drift(here(), webOf(here()), 'resolved');
    });

    test('another image is told with both sides, and resolved with the right one', async () => {
      await replaceWeb(here(), otherImage);
      const kinds = async () => (await drift(here(), webOf(here()), 'open')).kind === 'IMAGE_DRIFT';
      await until('the image drift', kinds, waitMs);
      const { differences } = await drift(here(), webOf(here()), 'open');
      assert.deepEqual(differences[0], { field: 'image', desired: wantedImage, observed: otherImage });
      await replaceWeb(here(), wantedImage);
      await drift(here(), webOf(here()), 'resolved');
    });

    test('a wrong checksum and a flipped byte are found where they are, in a store in use', async () => {
      const key = await writers.get(name)?.writeWrongChecksum();
      const findings = () => fleet.collector.list(`/api/v1/findings?node=${name}&state=open`, shown.finding);
      const wrong = async () =>
        (await findings()).some(({ check, finding }) => check === 'checksum' && finding.key === key);
      await until('the wrong checksum', wrong, waitMs);
      const { file, offset } = flipByte(here().storeDir);
      const block = async () =>
        (await findings()).some(({ check, finding: { file: at, offset: from } }) => {
          return check === 'block_checksum' && at === file && from !== null && from <= offset;
        });
      await until('the flipped byte', block, waitMs);
      flipByte(here().storeDir);
      await until('the byte is right again', async () => !(await block()), waitMs);
      const before = await writers.get(name)?.counts();
      const wroteOn = async () => ((await writers.get(name)?.counts())?.written ?? 0) > (before?.written ?? 0);
      await until('the writer has gone on undisturbed', wroteOn);
    });

    test('while the engine is away nothing is compliant, and what happened meanwhile is rebuilt', async () => {
      const restarted = await restartEngine(here());
      await gapThatTells('engine-down', `"name":"${restarted}","startedAt":"20`);
      for (const container of ['web', 'db']) await startAgain(here(), wantedOn(name, container).name);
      if (restarted !== webOf(here())) await here().api.remove(restarted);
      await statusWhere(here(), 'all is well again', (status) => status.engine === 'up' && status.openDrifts === 0);
    });

    test('time without an agent is a gap, and what began in it is found at the start', async () => {
      await here().agent.kill9();
      const container = `meanwhile-${name}`;
      // So that it lies in an interval that nobody has reported.
      await delay(1_100);
      const id = await here().api.run(running(container));
      await delay(1_100);
      await here().agent.restart();
      await drift(here(), container, 'open');
      await gapThatTells('agent-down', `"name":"${container}"`);
      await here().api.remove(id);
      await drift(here(), container, 'resolved');
    });

    test('cut off, it goes on watching; connected again, the ledger hears all of it as it was', async () => {
      here().wire.refuse(true);
      here().wire.cutAll();
      const container = `unheard-${name}`;
      const id = await here().api.run(running(container));
      await statusWhere(here(), 'sees it', ({ openDrifts }) => openDrifts === 1);
      await here().api.remove(id);
      await statusWhere(here(), 'sees it go', ({ openDrifts, link }) => openDrifts === 0 && link.state !== 'connected');
      const backAt = Date.now();
      here().wire.refuse(false);
      const told = await drift(here(), container, 'resolved');
      assert.ok(Date.parse(told.opened_at) < backAt);
      await caughtUp(here());
    });
  });
}

/** Takes the engine away and brings it back. @returns the container that was started before anybody could see it */
async function restartEngine(node: FleetNode): Promise<string> {
  const { engine } = node;
  if (engine === undefined) {
    const phoenix = 'phoenix';
    await node.api.run({ ...running(phoenix), restartPolicy: 'always' });
    await realEngine?.restart();
    return phoenix;
  }
  await engine.down();
  await statusWhere(node, 'the engine is missed', ({ lastScan }) => lastScan?.coverage === 'engine-down');
  engine.state.start(webOf(node));
  await engine.up();
  return webOf(node);
}

/** A real engine says no when it runs already. */
async function startAgain({ api }: FleetNode, container: string): Promise<void> {
  await api.start(container).catch(() => {});
}

async function fetchLog(path: string): Promise<Buffer> {
  const { url, token } = fleet.collector;
  const answer = await fetch(url + path, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(answer.status, 200, path);
  return Buffer.from(await answer.arrayBuffer());
}

const stats = z.object({ ledger: z.object({ vkey: z.string(), origin: z.string() }) });

test('whoever has the key and the address can recompute the root from the tiles', async () => {
  const { vkey, origin } = (await fleet.collector.api('/api/v1/stats', stats)).ledger;
  const { head } = await audit((path) => fetchLog(`/log/${path}`), logAlone(vkey));
  assert.equal(head.origin, origin);
  assert.ok(head.size > 256, 'enough for a full tile');
  // And by the policy, which asks for cosignatures of the nodes.
  const policy = parsePolicy(await fetchLog('/log/policy.txt'));
  assert.notEqual(policy.quorum, 'none');
  await audit((path) => fetchLog(`/log/${path}`), policy, [head]);
});

test('a checkpoint that was kept, a proof and an export are checked without trusting the collector', async () => {
  const { collector } = fleet;
  const kept = join(folder.path, 'kept.checkpoint');
  writeFileSync(kept, await fetchLog('/log/checkpoint'));
  await goesOn(fleet, fleet.node('lyra'));
  const verified = await assertVerified(collector, '--checkpoint', kept);
  assert.ok(typeof verified?.checkpoint_size === 'number' && verified.checkpoint_size > 0);
  writeFileSync(kept, (await readFile(kept, 'utf8')).replace(/\n\d+\n/, '\n7\n'));
  const forged = await collector.cli('ledger', 'verify', '--checkpoint', kept);
  assert.notEqual(forged.exitCode, 0);

  const entries = await readLedger(collector, folder.path);
  const index = entries.find(({ entry }) => entry.kind === 'drift.opened')?.index ?? -1;
  const file = join(folder.path, 'drift.tlog-proof');
  const made = await collector.cli('--json', 'ledger', 'proof', String(index), '--output', file);
  assert.equal(made.exitCode, 0, made.stderr);
  const policy = logAlone(String(jsonLine(made.stdout)?.vkey));
  const proof = readFileSync(file);
  const { head, leaf } = checkProofFile(proof, undefined, policy);
  assert.ok(head.size > index);
  const { bytes, signature } = entries[index] ?? assert.fail();
  assert.deepEqual(leaf, Buffer.concat([bytes, signature]));
  leaf.writeUInt8(leaf.readUInt8(20) ^ 1, 20);
  assert.throws(() => checkProofFile(proof, leaf, policy), Rejected);

  const chains = chainsOf(entries);
  for (const name of names) assertSaidOnce(chains.get(name) ?? [], 1_000);
});

test('the agents end in order, and so does the collector', async () => {
  for (const writer of writers.values()) await writer.stop();
  for (const { agent } of fleet.nodes) await agent.stop();
  await assertVerified(fleet.collector);
  await fleet.collector.stop();
});
