import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, test } from 'node:test';
import { createEnforcementDesk, type EnforcementDesk } from '../../../collector/enforcement/desk.ts';
import type { OrderCarrier, OrderDispatch } from '../../../collector/enforcement/ports.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresPlanningStore } from '../../../collector/postgres/enforcement-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { EnforcementPolicy } from '../../../common/enforcement/policy.ts';
import type { KeyPair } from '../../../common/keys.ts';
import type { Statement } from '../../../common/kinds.ts';
import type { OrderOutcome } from '../../../common/order.ts';
import { commit, driftOf, idOf, policyOf } from '../../collector/enforcement/situations.ts';
import { collectorKeys, testOrigin } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { systemClock } from '../../wire.ts';
import { enrolDirectly, say } from './collectors.ts';

let postgres: TestPostgres;
const desks: EnforcementDesk[] = [];
before(async () => {
  postgres = await startPostgres();
});
afterEach(async () => {
  await Promise.all(desks.splice(0).map((desk) => desk.stop()));
});
after(async () => {
  await postgres.stop();
});

const adopted: Statement = { kind: 'desired.adopted', body: { commit, digest: '0'.repeat(64), containers: 1 } };

function opened(name: string): Statement {
  return { kind: 'drift.opened', body: { drift: driftOf('UNAUTHORIZED_CONTAINER', name), commit } };
}

/** So many containers, of which governance judges how many may be struck. */
function observed(count: number): Statement {
  const at = new Date(0).toISOString();
  const upserted = Array.from({ length: count }, (_, i) => ({
    ...{ id: idOf(`miner${i}`), name: `miner${i}`, image: 'miner:1', imageId: `sha256:${idOf('miner:1')}` },
    ...{ state: 'running' as const, health: 'none' as const, exitCode: 0, restartCount: 0 },
    ...{ createdAt: at, startedAt: at, finishedAt: null },
  }));
  return { kind: 'observed', body: { baseline: true, upserted, removed: [] } };
}

function result(order: string, outcome: OrderOutcome): Statement {
  const body = { order, outcome, code: null, reason: outcome, evidence: null, containerId: null };
  return { kind: 'order.result', body };
}

/** A real ledger with two nodes that follow the commit, and collectors to come. */
async function fleet(policy: EnforcementPolicy) {
  const db = postgres.pool(await postgres.migratedDatabase());
  const store = postgresPlanningStore(db);
  const keys = collectorKeys;
  const ledger = new Ledger({ store: postgresLedgerStore(db), origin: testOrigin, keys, clock: systemClock });
  await ledger.start();
  const nodes = new Map<string, KeyPair>();
  for (const node of ['node1', 'node2']) nodes.set(node, await enrolDirectly(ledger, node));
  const adoptedAtMs = Date.now();
  const tell = async (desk: EnforcementDesk, node: string, statements: readonly Statement[]): Promise<void> => {
    const key = nodes.get(node);
    if (key === undefined) throw new Error(`no node ${node}`);
    await say(ledger, node, key, statements);
    desk.saw(
      node,
      statements.map(({ kind }) => kind),
    );
  };
  const collector = () => {
    const sent: OrderDispatch[] = [];
    const carrier: OrderCarrier = {
      nodes: () => [...nodes.keys()],
      send: (_node, dispatch) => sent.push(dispatch) > 0,
    };
    const metrics = { ordered: () => {}, sent: () => {}, frozen: () => {}, failed: () => {}, held: () => {} };
    const desk = createEnforcementDesk({
      ...{ store, ledger, carrier, metrics, clock: systemClock, random: randomBytes, logger: quietLogger },
      manifest: () => ({ commit, policy, wanted: () => undefined, adoptedAtMs }),
      verifyAnnouncement: async () => false,
    });
    desks.push(desk);
    return { desk, sent };
  };
  const orders = () => store.listOrders({}, { before: undefined, limit: 100 }, Date.now());
  return { db, store, tell, collector, orders };
}

test('a drift becomes one order, which is sent until its node has answered, also by a collector that comes later', async () => {
  const { tell, collector, orders } = await fleet(policyOf({ governance: { settling_time: 0 } }));
  const { desk, sent } = collector();
  await tell(desk, 'node1', [adopted, opened('miner')]);
  await until('sent', () => sent.length === 1);
  const [order] = await orders();
  assert.deepEqual([order?.hash, order?.index, order?.order.container], [sent[0]?.hash, sent[0]?.index, 'miner']);
  await desk.stop();
  const later = collector();
  later.desk.nodeCame('node1');
  await until('sent again', () => later.sent.length === 1);
  assert.equal(later.sent[0]?.hash, order?.hash);
  await tell(later.desk, 'node1', [result(order?.hash ?? '', 'executed')]);
  await later.desk.stop();
  assert.deepEqual([(await orders()).length, (await orders())[0]?.status], [1, 'executed']);
});

test('two nodes that drift alike right after a commit have it frozen, with one alert and no order', async () => {
  const { db, store, tell, collector, orders } = await fleet(policyOf({ governance: { settling_time: 3_600 } }));
  const [here, there] = [collector(), collector()];
  await tell(here.desk, 'node1', [adopted, opened('miner')]);
  await tell(there.desk, 'node2', [adopted, opened('miner')]);
  await until('frozen', async () => (await store.measures(Date.now())).frozen.length > 0);
  here.desk.heard();
  there.desk.heard();
  await Promise.all([here.desk.stop(), there.desk.stop()]);
  const { rows } = await db.query<{ kind: string; count: number }>(
    `select kind, count(*) from entries where kind in ('alert.raised', 'enforcement.frozen') group by kind order by kind`,
  );
  assert.deepEqual(rows, [
    { kind: 'alert.raised', count: 1 },
    { kind: 'enforcement.frozen', count: 1 },
  ]);
  assert.deepEqual([await orders(), here.sent, there.sent], [[], [], []]);
});

test('from the commit of a drift to its order on the way', async (t) => {
  const { tell, collector } = await fleet(policyOf({ governance: { settling_time: 0 } }));
  const { desk, sent } = collector();
  await tell(desk, 'node1', [adopted, observed(40)]);
  const took: number[] = [];
  for (let i = 1; i <= 20; i++) {
    await tell(desk, 'node1', [opened(`miner${i}`)]);
    const began = performance.now();
    await until('sent', () => sent.length === i);
    took.push(performance.now() - began);
  }
  took.sort((a, b) => a - b);
  // How fast is a question for a quiet machine; that it is far from any interval of looking around is for every one.
  t.diagnostic(`median ${took[10]?.toFixed(1)} ms, to 5 ms`);
  assert.ok((took[10] ?? 0) < 1_000);
});
