import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { Facts } from '../../../collector/alerts/rules/facts.ts';
import { ruleSettings } from '../../../collector/alerts/rules/settings.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import { readFacts } from '../../../collector/postgres/alert-facts-store.ts';
import { postgresIntegrityStore } from '../../../collector/postgres/integrity-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import type { IntegrityStatus } from '../../../common/integrity-report.ts';
import { fingerprint, type KeyPair } from '../../../common/keys.ts';
import type { Body, Statement } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { type Order, type OrderOutcome, orderHash } from '../../../common/order.ts';
import { firstEntryMs } from '../../authors.ts';
import { collectorKeys, testOrigin } from '../../ledgers.ts';
import { orderOf } from '../../orders.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { driftOpened, driftResolved, enrolDirectly, say } from './collectors.ts';

const settings = ruleSettings.parse({});
const hourMs = 3_600_000;
const digest = '0'.repeat(64);
const unauthorized = 'UNAUTHORIZED_CONTAINER';

let postgres: TestPostgres;
let db: Db;
let ledger: Ledger;
let lyra: KeyPair;
/** By the collector's clock. */
let nowMs = firstEntryMs;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());
beforeEach(async () => {
  db = postgres.pool(await postgres.migratedDatabase());
  nowMs = firstEntryMs;
  const clock = { now: () => nowMs, monotonicMs: () => 0 };
  ledger = new Ledger({ store: postgresLedgerStore(db), origin: testOrigin, keys: collectorKeys, clock });
  await ledger.start();
  lyra = await enrolDirectly(ledger, 'lyra');
});

const says = (...statements: Statement[]) => say(ledger, 'lyra', lyra, statements);

async function facts(): Promise<Facts> {
  const witnesses = async () => ({ required: 1, unwitnessedSinceMs: null });
  return readFacts(db, { nowMs, settings, witnesses });
}

async function silence(scope: Body<'drift.silenced'>['scope'], id = 'a'.repeat(64)): Promise<void> {
  const until = new Date(nowMs + 24 * hourMs).toISOString();
  await ledger.record({ kind: 'drift.silenced', body: { id, scope, until, actor: 'ada', reason: 'known' } });
}

describe('drifts', () => {
  const drifts = async () => (await facts()).drifts.map(({ kind, count, containers }) => [kind, count, ...containers]);

  test('count once they have stood for long enough by the clock of the collector, and until they end', async () => {
    await says(driftOpened('rogue', unauthorized));
    nowMs += settings.driftMs - 1;
    await says(driftOpened('late', unauthorized));
    assert.deepEqual(await drifts(), []);
    nowMs += 1;
    assert.deepEqual(await drifts(), [[unauthorized, 1, 'rogue']]);
    nowMs += settings.driftMs;
    assert.deepEqual(await drifts(), [[unauthorized, 2, 'rogue', 'late']]);
    await says(driftResolved('rogue', unauthorized));
    assert.deepEqual(await drifts(), [[unauthorized, 1, 'late']]);
  });

  test('do not count while they are silenced, by node, container or kind', async () => {
    await says(driftOpened('rogue', unauthorized), driftOpened('web', 'MISSING_CONTAINER'));
    nowMs += settings.driftMs;
    await silence({ node: 'node1', container: null, kind: null }, 'b'.repeat(64));
    assert.equal((await drifts()).length, 2);
    await silence({ node: 'lyra', container: 'rogue', kind: null });
    assert.deepEqual(await drifts(), [['MISSING_CONTAINER', 1, 'web']]);
    await ledger.record({ kind: 'drift.unsilenced', body: { id: 'a'.repeat(64), actor: 'ada', reason: 'over' } });
    assert.equal((await drifts()).length, 2);
    await silence({ node: null, container: null, kind: 'MISSING_CONTAINER' }, 'c'.repeat(64));
    assert.deepEqual(await drifts(), [[unauthorized, 1, 'rogue']]);
    nowMs += 25 * hourMs;
    assert.equal((await drifts()).length, 2);
  });

  test('of one node are counted only so far, and hide no other kind', async () => {
    const many = Array.from({ length: limits.maxAlertedContainers + 1 }, (_, i) => driftOpened(`c${i}`, unauthorized));
    await says(...many, driftOpened('web', 'MISSING_CONTAINER'));
    nowMs += settings.driftMs;
    const [missing, foreign] = (await facts()).drifts;
    assert.deepEqual([missing?.kind, missing?.count], ['MISSING_CONTAINER', 1]);
    assert.deepEqual([foreign?.count, foreign?.containers.length], [limits.maxAlertedContainers, 11]);
  });

  test('of a node whose key was revoked are nobody’s concern any more', async () => {
    await says(driftOpened('rogue', unauthorized));
    nowMs += settings.driftMs;
    const body = { node: 'lyra', fingerprint: fingerprint(lyra.publicKey), reason: 'lost' };
    await ledger.record({ kind: 'node.revoked', body });
    assert.deepEqual(await drifts(), []);
  });
});

test('what was not watched or was dropped counts for as long as it was received lately', async () => {
  const gap = (to: string): Statement => ({
    kind: 'coverage.gap',
    body: { from: '2026-03-01T10:00:00.000Z', to, reason: 'agent-down', rebuilt: [] },
  });
  await says(gap('2026-03-01T10:05:00.000Z'), gap('2026-03-01T10:02:00.000Z'));
  const losses = async () => (await facts()).losses;
  assert.deepEqual(await losses(), [{ node: 'lyra', gaps: 2, gapMs: 420_000, dropped: 0, recovered: 0 }]);
  nowMs += settings.coverageMs;
  assert.deepEqual(await losses(), []);
  const [from, to] = ['2026-03-01T10:00:00.000Z', '2026-03-01T10:01:00.000Z'];
  // One that is longer than a number holds, and one that ends before it begins.
  await says(gap('9999-12-31T23:59:59.999Z'), gap('1970-01-01T00:00:00.000Z'), {
    kind: 'outbox.dropped',
    body: { count: 3, from, to, kinds: { report: 3 } },
  });
  const [loss] = await losses();
  assert.deepEqual([loss?.gaps, loss?.dropped, (loss?.gapMs ?? 0) > 1e14], [2, 1, true]);
});

test('an outbox that was damaged counts, whatever it cost', async () => {
  await says({ kind: 'outbox.recovered', body: { reason: 'a log lost its end', salvaged: 7, quarantine: 'none' } });
  const { losses } = await facts();
  assert.deepEqual(losses, [{ node: 'lyra', gaps: 0, gapMs: 0, dropped: 0, recovered: 1 }]);
});

test('a fork counts until it is released, and for a day after it was told', async () => {
  const fork: Statement = { kind: 'witness.fork', body: { held: 'a', offered: 'b', reason: 'smaller' } };
  const released: Statement = { kind: 'witness.released', body: { evidence: 'e', heldSize: 1, reason: 'looked' } };
  const forks = async () => (await facts()).forks;
  assert.deepEqual(await forks(), []);
  await says(fork);
  nowMs += 10 * settings.forkMs;
  assert.deepEqual(await forks(), ['lyra']);
  await says(released);
  assert.deepEqual(await forks(), []);
  await says(fork, released);
  assert.deepEqual(await forks(), ['lyra']);
  nowMs += settings.forkMs;
  assert.deepEqual(await forks(), []);
});

test('a key that is used twice counts for a day, or until the node has another', async () => {
  const body: Body<'ledger.equivocation'> = {
    ...{ node: 'lyra', seq: 1, accepted: digest, offered: digest },
    offeredText: `"node":"node1"${'\u00fc'.repeat(500)}`,
    offeredSignature: Buffer.alloc(64).toString('base64'),
  };
  const equivocations = async () => (await facts()).equivocations;
  await ledger.record({ kind: 'ledger.equivocation', body });
  assert.deepEqual(await equivocations(), ['lyra']);
  nowMs += settings.forkMs;
  assert.deepEqual(await equivocations(), []);
  await ledger.record({ kind: 'ledger.equivocation', body });
  assert.deepEqual(await equivocations(), ['lyra']);
  await enrolDirectly(ledger, 'lyra');
  assert.deepEqual(await equivocations(), []);
});

describe('orders', () => {
  const drift = { id: `${unauthorized}:rogue`, kind: unauthorized, digest } as const;
  let orders = 0;

  async function issue(different: Partial<Order> = {}): Promise<string> {
    const nonce = (++orders).toString(16).padStart(32, '0');
    const order = orderOf({ issuedMs: nowMs, drift, nonce, ...different });
    await ledger.record({ kind: 'order.issued', body: { order } });
    return orderHash(order);
  }
  const came = (order: string, outcome: OrderOutcome): Statement => ({
    kind: 'order.result',
    body: { order, outcome, code: null, reason: '', evidence: null, containerId: null },
  });
  const failed = async () =>
    (await facts()).failedOrders.map(({ node, count, containers }) => [node, count, ...containers]);

  test('that came to nothing count while their drift stands and nothing better came of a later one', async () => {
    await says(driftOpened('rogue', unauthorized));
    for (const outcome of ['failed', 'refused', 'relapsed'] as const) {
      const order = await issue();
      await says(came(order, 'executed'));
      assert.deepEqual(await failed(), []);
      await says(came(order, outcome));
      assert.deepEqual(await failed(), [['lyra', 1, 'rogue']]);
      // Another one is on its way, or nobody took it.
      await issue();
      await issue({ expiresAt: new Date(nowMs - 1).toISOString() });
      assert.deepEqual(await failed(), [['lyra', 1, 'rogue']]);
    }
    await silence({ node: null, container: 'rogue', kind: null });
    assert.deepEqual(await failed(), []);
    await ledger.record({ kind: 'drift.unsilenced', body: { id: 'a'.repeat(64), actor: 'ada', reason: 'over' } });
    await says(driftResolved('rogue', unauthorized), driftOpened('rogue', unauthorized));
    assert.deepEqual(await failed(), []);
  });

  test('that wait for approvals count once they have waited for long, and until they have them or expire', async () => {
    const waiting = async () => (await facts()).waitingOrders.map(({ node, count }) => [node, count]);
    const expiresAt = new Date(nowMs + 24 * hourMs).toISOString();
    const order = await issue({ approvals: 2, expiresAt });
    const another = await issue({ approvals: 1, expiresAt });
    await issue({ expiresAt });
    nowMs += settings.approvalMs - 1;
    assert.deepEqual(await waiting(), []);
    nowMs += 1;
    assert.deepEqual(await waiting(), [['lyra', 2]]);
    const approve = (approver: string) =>
      ledger.record({ kind: 'order.approved', body: { order, approval: { approver, signature: 'none' } } });
    await approve('alice');
    await approve('alice');
    await ledger.record({ kind: 'order.rejected', body: { order: another, actor: 'ada', reason: 'no' } });
    assert.deepEqual(await waiting(), [['lyra', 1]]);
    await approve('bob');
    assert.deepEqual(await waiting(), []);
    await issue({ approvals: 1, expiresAt });
    nowMs += 24 * hourMs;
    assert.deepEqual(await waiting(), []);
  });
});

test('the last integrity run is known by when it was received, and by what came of it', async () => {
  const runs = async () => (await facts()).integrityRuns;
  const times = { startedAt: '2026-03-01T02:00:00.000Z', finishedAt: '2026-03-01T02:01:00.000Z' };
  const ran = (status: Body<'integrity.report'>['status']): Statement => ({
    kind: 'integrity.report',
    body: { report: '20260301T020000000Z-00000000', status, ...times, sha256: null, stores: [] },
  });
  assert.deepEqual(await runs(), []);
  await says(ran('unchecked'));
  const firstMs = nowMs;
  nowMs += hourMs;
  assert.deepEqual(await runs(), [{ node: 'lyra', receivedAtMs: firstMs, status: 'unchecked' }]);
  await says(ran('ok'));
  assert.deepEqual(await runs(), [{ node: 'lyra', receivedAtMs: nowMs, status: 'ok' }]);
});

test('checks of the ledger are known by when the last one came to an end, and awaited once somebody has had them made', async () => {
  const check = async () => (await facts()).ledgerCheck;
  const times = { startedAt: '2026-03-01T02:00:00.000Z', finishedAt: '2026-03-01T02:01:00.000Z' };
  const made = (status: IntegrityStatus) => {
    const empty = { verified: null, fault: null, projections: null, error: null };
    const body = { report: '20260301T020000000Z-00000000', sha256: '0'.repeat(64), status, ...times };
    const check = { origin: testOrigin, status, startedAt: times.startedAt, durationMs: 0, ...empty };
    return ledger.record({ kind: 'ledger.checked', body: { ...body, check } });
  };
  assert.deepEqual(await check(), { endedAtMs: null, awaitedSinceMs: null });
  const { lastMs } = await postgresIntegrityStore(db).turn();
  assert.deepEqual(await check(), { endedAtMs: null, awaitedSinceMs: lastMs });
  await made('unchecked');
  const firstMs = nowMs;
  nowMs += hourMs;
  await made('unchecked');
  assert.deepEqual(await check(), { endedAtMs: null, awaitedSinceMs: firstMs });
  for (const status of ['findings', 'ok'] as const) {
    nowMs += hourMs;
    await made(status);
    assert.deepEqual(await check(), { endedAtMs: nowMs, awaitedSinceMs: firstMs });
  }
  const endedMs = nowMs;
  nowMs += hourMs;
  await made('unchecked');
  assert.deepEqual(await check(), { endedAtMs: endedMs, awaitedSinceMs: firstMs });
  // Bodies may be kept for less time than a check may be ago.
  await db.query('drop table run_bodies_000000');
  assert.deepEqual(await check(), { endedAtMs: nowMs, awaitedSinceMs: firstMs });
});

test('how full a disk is comes from the last report, and an older agent says nothing of it', async () => {
  const report: Body<'report'> = {
    ...{ minute: '2026-03-01T10:00:00.000Z', coverage: 'observed', scanMs: 1, commit: null, stores: [] },
    ...{ containers: { count: 0, unobserved: 0, digest }, drifts: { open: 0, digest } },
  };
  const disk = async () => (await facts()).nodes[0]?.report?.disk;
  assert.equal(await disk(), undefined);
  await says({ kind: 'report', body: report });
  assert.equal(await disk(), null);
  const full = { freeBytes: 1, totalBytes: Number.MAX_SAFE_INTEGER };
  await says({ kind: 'report', body: { ...report, disk: full } });
  assert.deepEqual(await disk(), full);
  await says({ kind: 'report', body: report });
  assert.equal(await disk(), null);
});

test('notifications that were given up count for a day', async () => {
  const give = (state: string, agoMs: number) =>
    db.query(
      `insert into alert_notifications (channel, alert, change, item, state, created_at, due_at, settled_at)
       values ('slack', 'x', 'raised', '{}', $1, now(), now(), to_timestamp($2))`,
      [state, (nowMs - agoMs) / 1000],
    );
  await give('dead', settings.deadLetterMs + 1);
  await give('delivered', 0);
  assert.deepEqual((await facts()).deadLetters, []);
  await give('dead', 0);
  await give('dead', hourMs);
  assert.deepEqual((await facts()).deadLetters, [{ channel: 'slack', count: 2 }]);
});
