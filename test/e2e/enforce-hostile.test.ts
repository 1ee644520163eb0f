import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { z } from 'zod';
import { collectorKeyPath, loadCollectorKey } from '../../collector/data/keys.ts';
import { driftSchema } from '../../common/drift.ts';
import { sealEntry } from '../../common/entry.ts';
import { type Approval, approvalText, driftDigest, type Order, orderHash } from '../../common/order.ts';
import { type FleetRepository, fleetRepository, type SshSigner } from '../agent/desired-world.ts';
import { orderOf } from '../orders.ts';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import { type SshSigners, sshSigners, withoutSshKeygen } from '../ssh-keys.ts';
import { jsonLine, makeTemporaryFolder, startCollector } from '../system.ts';
import { type Attacker, keyAlone, openAttacker } from './enforce-attacker.ts';
import {
  actsAtOnce,
  type EnforcedNode,
  eventually,
  follows,
  otherImage,
  sleeping,
  startEnforcedNode,
  wantedImage,
} from './enforce-world.ts';
import { tearDown } from './fleet.ts';

/*
 * Somebody owns the collector: its key, its database, its address. What can be reached from there is what the manifest permits
 * that the node has verified, and nothing else.
 */
const folder = makeTemporaryFolder('sgw-eh-');
const needsKeys = { skip: withoutSshKeygen() };
const node = 'lyra';
const manifestOf = (names: readonly string[]) =>
  stringify({
    ...actsAtOnce,
    drift_rules: { unauthorized_containers: { action: 'terminate' } },
    governance: { ...actsAtOnce.governance, approvals: { terminate: 1 }, approvers: ['alice'] },
    containers: names.map((name) => ({ node, name, image: wantedImage, command: sleeping })),
  });

let postgres: TestPostgres;
let people: SshSigners;
let alice: SshSigner;
let repository: FleetRepository;
/** In force on the node, and an earlier one. */
let commits: { readonly earlier: string; readonly inForce: string };
let lyra: EnforcedNode;
let dataDir: string;
let databaseUrl: string;
let attacker: Attacker;
/** Where the node's connections end. */
let port = 0;
/** Of the containers that nobody wants. */
let rogue: string;
let unharmed: readonly string[];

before(async () => {
  if (needsKeys.skip !== false) return;
  people = await sshSigners({ alice: 'alice', mallory: '# not trusted' });
  alice = { keyFile: people.keyFile('alice'), publicKey: '' };
  repository = fleetRepository(join(folder.path, 'manifest'));
  const earlier = repository.commit(manifestOf([]), alice);
  commits = { earlier, inForce: repository.commit(manifestOf(['web']), alice) };
  postgres = await startPostgres();
  [dataDir, databaseUrl] = [join(folder.path, 'collector'), await postgres.migratedDatabase()];
  const trust = { SIGILWATCH_MANIFEST_ALLOWED_SIGNERS: people.allowedSigners };
  const env = { ...trust, SIGILWATCH_MANIFEST_REPOSITORY: repository.dir, DATABASE_URL: databaseUrl };
  const honest = await startCollector({ dir: dataDir, env });
  port = Number(new URL(honest.url).port);
  lyra = await startEnforcedNode(honest, {
    ...{ name: node, folder: folder.path, env: trust, port: () => port },
    runs: async (engine) => {
      await engine.run({ name: 'web', image: wantedImage, cmd: sleeping });
      rogue = await engine.run({ name: 'rogue', image: otherImage, cmd: sleeping });
    },
  });
  unharmed = (await lyra.engine.ids()).sort();
  await follows(lyra, commits.inForce);
  await eventually('the rogue is seen', async () => (await lyra.agent.status()).openDrifts === 1);
  await honest.stop();
  attacker = await openAttacker({ dataDir, databaseUrl });
  port = attacker.port;
  await eventually('the node has come', () => attacker.sockets.orders.nodes().includes(node));
});
after(async () => {
  await tearDown();
  await postgres?.stop();
  await people?.remove();
});

const driftSaid = z.object({ drift: driftSchema });

type Line = Readonly<Record<string, unknown>>;

/** Waits for a line of the agent's log about this event that fits. */
async function logged(event: string, fits: (line: Line) => boolean): Promise<Line> {
  let found: Line | undefined;
  const asked = () => {
    const lines = lyra.agent.logs().flatMap((line): Line[] => [jsonLine(line) ?? {}]);
    found = lines.find((line) => line.event === event && fits(line));
    return found !== undefined;
  };
  await eventually(`the agent says ${event}`, asked);
  return found ?? {};
}

const approvedBy = (owner: string, hash: string): Approval => {
  return { approver: 'alice', signature: people.sign(owner, approvalText(hash)) };
};

/** The drift that stands, as the node has told of it. */
async function drift(): Promise<Order['drift']> {
  const { said } = await logged('drift.opened', () => true);
  const { drift: opened } = driftSaid.parse(said);
  return { id: opened.id, kind: opened.kind, digest: driftDigest(opened) };
}

async function wicked(different: Partial<Order> = {}): Promise<Order> {
  const nonce = randomBytes(16).toString('hex');
  const [issuedMs, standing] = [Date.now(), await drift()];
  const base = { node, containerId: rogue, commit: commits.inForce, drift: standing, approvals: 1, nonce };
  return orderOf({ ...base, issuedMs, ...different });
}

describe('whoever owns the collector', needsKeys, () => {
  test('has no order obeyed that the manifest does not permit', async () => {
    const web = { container: 'web', containerId: unharmed.find((id) => id !== rogue) ?? '' };
    const other = orderHash(await wicked());
    const hour = 3_600_000;
    const iso = (ms: number) => new Date(Date.now() + ms).toISOString();
    const refusals: readonly (readonly [code: string, order: Order, approvals?: readonly Approval[]])[] = [
      ['approvals', await wicked()],
      ['approvals', await wicked({ approvals: 0 })],
      ['approvals', await wicked(), [approvedBy('alice', other)]],
      ['approvals', await wicked({ ...web, drift: null, origin: 'operator', by: 'operator', approvals: 0 })],
      ['rule', await wicked({ ...web, drift: null })],
      ['rule', await wicked({ action: 'quarantine' })],
      [
        'rule',
        await wicked({ ...web, action: 'rollback', drift: { id: 'x', kind: 'IMAGE_DRIFT', digest: '0'.repeat(64) } }),
      ],
      ['misdirected', await wicked({ origin: 'local' })],
      ['misdirected', await wicked({ node: 'node1' })],
      ['commit', await wicked({ commit: commits.earlier })],
      ['expired', await wicked({ issuedAt: iso(-2 * hour), expiresAt: iso(-hour) })],
      ['expired', await wicked({ expiresAt: iso(30 * 24 * hour) })],
      ['expired', await wicked({ issuedAt: iso(hour), expiresAt: iso(2 * hour) })],
    ];
    for (const [code, order, approvals] of refusals) {
      const hash = await attacker.order(order, approvals);
      const said = await logged('order.result', (line) => line.order === hash);
      assert.deepEqual(
        [said.outcome, said.code],
        [code === 'expired' ? 'expired' : 'refused', code],
        JSON.stringify(order),
      );
    }
    const forged = await wicked();
    const said = await attacker.order(forged, [approvedBy('mallory', orderHash(forged))]);
    assert.equal((await logged('order.result', (line) => line.order === said)).code, 'approvals');
    assert.deepEqual((await lyra.engine.ids()).sort(), unharmed);
  });

  test('has no order obeyed that is not in the ledger, though it is signed and approved', async () => {
    const order = await wicked();
    const { privateKey } = await loadCollectorKey(collectorKeyPath(dataDir));
    const head = await attacker.ledger.authorHead('collector');
    const signed = sealEntry(
      { kind: 'order.issued', body: { order } },
      { author: 'collector', head, now: Date.now(), privateKey },
    );
    await attacker.unlogged(order, signed);
    const said = await logged('link.disconnected', (line) => line.code === 'ledger.proof');
    assert.equal(said.code, 'ledger.proof');
    assert.deepEqual((await lyra.engine.ids()).sort(), unharmed);
    // As the node sees it: the collector may not have noticed yet that the old session is over.
    await eventually('the node has come back', async () => (await lyra.agent.status()).link.state === 'connected');
  });

  test('puts no manifest into force that nobody trusted has signed, nor an old one again', async () => {
    const offer = async (commit: string, bundle: Buffer, code: string) => {
      attacker.sockets.sendDesired(node, commit, bundle);
      const said = await logged('desired.rejected', (line) => line.commit === commit);
      assert.equal(said.code, code);
      assert.equal((await lyra.agent.status()).commit, commits.inForce);
    };
    const unsigned = repository.commit(manifestOf([]));
    await offer(unsigned, repository.bundle('main'), 'auth.signature');
    repository.git(['reset', '-q', '--hard', commits.inForce]);
    const stranger = repository.commit(manifestOf([]), { keyFile: people.keyFile('mallory'), publicKey: '' });
    await offer(stranger, repository.bundle('main'), 'auth.signature');
    repository.git(['reset', '-q', '--hard', commits.earlier]);
    await offer(commits.earlier, repository.bundle('main'), 'state.conflict');
    assert.deepEqual((await lyra.engine.ids()).sort(), unharmed);
  });

  test('can do what the manifest permits, once those who have to agree have signed', async () => {
    const order = await wicked();
    const hash = await attacker.order(order, [approvedBy('alice', orderHash(order))]);
    assert.equal((await logged('order.result', (line) => line.order === hash)).outcome, 'executed');
    assert.ok(!(await lyra.engine.ids()).includes(rogue));
  });

  test('has nothing obeyed any more once it has shown another history', async () => {
    const intruder = await lyra.engine.run({ name: 'intruder', image: otherImage, cmd: sleeping });
    const other = keyAlone(dataDir, join(folder.path, 'other'));
    const rewritten = await openAttacker({
      ...{ dataDir: other, databaseUrl: await postgres.migratedDatabase() },
      ...{ nodesUrl: databaseUrl, shameless: true },
    });
    const sizeOf = async (of: Attacker) => (await of.ledger.checkpoint()).size;
    // The node goes on writing meanwhile, and what is smaller than what it holds is never shown to it.
    for (let at = 0; (await sizeOf(rewritten)) <= (await sizeOf(attacker)) + 20; at += 1)
      await rewritten.ledger.record({ kind: 'alert.resolved', body: { key: `${at}`, reason: 'it never was' } });
    port = rewritten.port;
    lyra.wire.cutAll();
    await eventually('it is found out', async () => (await lyra.agent.status()).link.state === 'forked');
    const order = await wicked({ container: 'intruder', containerId: intruder });
    await rewritten.order(order, [approvedBy('alice', orderHash(order))]);
    // Back at the true ledger, it takes a person to trust it again.
    port = attacker.port;
    lyra.wire.cutAll();
    await attacker.order(order, [approvedBy('alice', orderHash(order))]);
    assert.deepEqual(rewritten.sockets.orders.nodes(), []);
    assert.equal((await lyra.agent.status()).link.state, 'forked');
    assert.ok((await lyra.engine.ids()).includes(intruder));
  });
});
