import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { PlanningStore } from '../../../collector/enforcement/desk-ports.ts';
import type { StoredOrder } from '../../../collector/enforcement/ports.ts';
import { readReplicas } from '../../../collector/enforcement/replicas.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresPlanningStore } from '../../../collector/postgres/enforcement-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Drift } from '../../../common/drift.ts';
import type { DriftKind } from '../../../common/drift-kind.ts';
import type { KeyPair } from '../../../common/keys.ts';
import type { Statement } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { type Order, type OrderOutcome, orderHash } from '../../../common/order.ts';
import { firstEntryMs } from '../../authors.ts';
import { startLedger } from '../../ledgers.ts';
import { orderOf } from '../../orders.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { enrolDirectly, say } from './collectors.ts';

let postgres: TestPostgres;
let ledger: Ledger;
let store: PlanningStore;
let keys: Record<'lyra' | 'node1', KeyPair>;
const nowMs = firstEntryMs + 86_400_000;
let orders = 0;

before(async () => {
  postgres = await startPostgres();
  const db = postgres.pool(await postgres.migratedDatabase());
  ledger = await startLedger(postgresLedgerStore(db));
  store = postgresPlanningStore(db);
  keys = { lyra: await enrolDirectly(ledger, 'lyra'), node1: await enrolDirectly(ledger, 'node1') };
});
after(async () => {
  await postgres.stop();
});

function anOrder(different: Partial<Order> = {}): Order {
  orders += 1;
  return orderOf({ issuedMs: nowMs, nonce: orders.toString(16).padStart(32, '0'), ...different });
}

async function issued(order: Order): Promise<string> {
  await ledger.record({ kind: 'order.issued', body: { order } });
  return orderHash(order);
}

function result(order: string, outcome: OrderOutcome): Statement {
  return {
    kind: 'order.result',
    body: { order, outcome, code: null, reason: outcome, evidence: null, containerId: null },
  };
}

async function approve(order: string, approver: string): Promise<void> {
  await ledger.record({ kind: 'order.approved', body: { order, approval: { approver, signature: 'none' } } });
}

async function told(hash: string, atMs = nowMs): Promise<StoredOrder> {
  const order = await store.order(hash, atMs);
  assert.ok(order);
  return order;
}

const waiting = async (atMs = nowMs, other = 'node1') =>
  (await store.dispatchable(['lyra', other], atMs)).map(({ hash }) => hash);

describe('where an order stands', () => {
  test('is the last word of its node', async () => {
    const order = anOrder();
    const hash = await issued(order);
    assert.deepEqual(await told(hash), {
      hash,
      index: (await told(hash)).index,
      order,
      status: 'requested',
      events: [],
    });
    assert.ok((await waiting()).includes(hash));
    for (const outcome of ['executed', 'verified', 'relapsed'] as const) {
      await say(ledger, 'lyra', keys.lyra, [result(hash, outcome)]);
      assert.equal((await told(hash)).status, outcome);
    }
    assert.deepEqual(
      (await told(hash)).events.map(({ said }) => said.kind === 'order.result' && said.body.outcome),
      ['executed', 'verified', 'relapsed'],
    );
    assert.ok(!(await waiting()).includes(hash));
    assert.equal((await told(hash, nowMs + 4_000_000)).status, 'relapsed');
  });

  test('is expired when its time is over and nobody has said anything', async () => {
    const hash = await issued(anOrder());
    assert.equal((await told(hash, nowMs + 3_599_999)).status, 'requested');
    assert.equal((await told(hash, nowMs + 3_600_000)).status, 'expired');
    assert.ok(!(await waiting(nowMs + 3_600_000)).includes(hash));
  });

  test('is rejected once a person has said so, unless the node was faster', async () => {
    const [early, late] = [await issued(anOrder()), await issued(anOrder())];
    await say(ledger, 'lyra', keys.lyra, [result(late, 'executed')]);
    for (const order of [early, late]) {
      await ledger.record({ kind: 'order.rejected', body: { order, actor: 'operator', reason: 'no' } });
    }
    assert.equal((await told(early)).status, 'rejected');
    assert.equal((await told(late)).status, 'executed');
    assert.ok(!(await waiting()).includes(early));
  });
});

describe('an order goes out', () => {
  test('once as many approvers have signed as it asks for, and each counts once', async () => {
    const hash = await issued(anOrder({ approvals: 2 }));
    await approve(hash, 'alice');
    await approve(hash, 'alice');
    assert.ok(!(await waiting()).includes(hash));
    await approve(hash, 'bob');
    assert.ok((await waiting()).includes(hash));
  });

  test('although another node leaves more than a round of orders lying', async () => {
    for (let i = 0; i < limits.maxOrdersDispatched + 5; i++) await issued(anOrder({ node: 'node2' }));
    const hash = await issued(anOrder());
    const found = await waiting(nowMs, 'node2');
    assert.equal(found.length, limits.maxOrdersDispatched);
    assert.ok(found.includes(hash));
    assert.deepEqual(await store.dispatchable([], nowMs), []);
  });
});

describe('a hostile node', () => {
  test('answers, approves and rejects nothing that is not its own', async () => {
    const hash = await issued(anOrder({ approvals: 1 }));
    const approval = { approver: 'alice', signature: 'none' };
    await say(ledger, 'node1', keys.node1, [
      result(hash, 'executed'),
      { kind: 'order.approved', body: { order: hash, approval } },
      { kind: 'order.rejected', body: { order: hash, actor: 'operator', reason: 'no' } },
    ]);
    const { status, events } = await told(hash);
    assert.deepEqual([status, events], ['requested', []]);
    assert.ok(!(await waiting()).includes(hash));
  });

  test('makes no orders for others, and none in the name of a rule', async () => {
    const foreign = anOrder({ origin: 'local' });
    const own = anOrder({ node: 'node1' });
    for (const order of [foreign, own]) {
      await say(ledger, 'node1', keys.node1, [
        { kind: 'order.local', body: { order } },
        { kind: 'order.issued', body: { order } },
      ]);
      assert.equal(await store.order(orderHash(order), nowMs), undefined);
    }
  });

  test('shadows no order by claiming its hash first, nor answers it before it is made', async () => {
    const order = anOrder({ node: 'node1' });
    const hash = orderHash(order);
    await say(ledger, 'node1', keys.node1, [{ kind: 'order.local', body: { order } }, result(hash, 'executed')]);
    await issued(order);
    assert.equal((await told(hash)).status, 'requested');
    assert.ok((await waiting()).includes(hash));
  });

  test('makes no second order of one by saying it again', async () => {
    const order = anOrder({ node: 'node1', origin: 'local', approvals: 0 });
    const hash = orderHash(order);
    const said: Statement = { kind: 'order.local', body: { order } };
    await say(ledger, 'node1', keys.node1, [said, result(hash, 'executed'), said]);
    assert.equal((await store.ordersNamed(hash, nowMs)).length, 1);
    assert.equal((await told(hash)).status, 'executed');
    assert.ok(!(await waiting()).includes(hash));
  });

  test('freezes, releases and silences nothing', async () => {
    const body = { commit: 'x', actor: 'operator', reason: '' };
    const scope = { node: null, container: null, kind: null };
    await say(ledger, 'node1', keys.node1, [
      { kind: 'enforcement.frozen', body: { commit: 'x', drift: 'IMAGE_DRIFT', nodes: [], reason: '' } },
      { kind: 'enforcement.released', body },
      {
        kind: 'drift.silenced',
        body: { id: 'a'.repeat(64), scope, until: '2999-01-01T00:00:00.000Z', actor: '', reason: '' },
      },
    ]);
    assert.deepEqual(await store.measures(nowMs), { frozen: [], silences: [], announcements: [] });
  });

  test('with a great many results hides neither approvals nor its last word', async () => {
    const hash = await issued(anOrder({ node: 'node1', approvals: 1 }));
    await approve(hash, 'alice');
    const talk = Array.from({ length: limits.maxOrderEventsRead + 50 }, () => result(hash, 'failed'));
    await say(ledger, 'node1', keys.node1, [...talk, result(hash, 'executed')]);
    const { status, events } = await told(hash);
    assert.equal(status, 'executed');
    assert.equal(events.length, limits.maxOrderEventsRead + 1);
    assert.equal(events[0]?.said.kind, 'order.approved');
  });
});

test('an order on a replica is known although another node claims more orders on its own than are read', async () => {
  const container = 'flooded';
  const hash = await issued(anOrder({ container, node: 'node1' }));
  const claims = Array.from({ length: limits.maxReplicasRead + 5 }, () =>
    anOrder({ container, node: 'lyra', origin: 'local' }),
  );
  await say(
    ledger,
    'lyra',
    keys.lyra,
    claims.map((order) => ({ kind: 'order.local', body: { order } })),
  );
  const { requested } = await readReplicas(store, container, nowMs);
  assert.ok(requested.some((stored) => stored.hash === hash));
  assert.equal(requested.length, limits.maxReplicasRead);
  const later = await readReplicas(store, container, nowMs + limits.maxOrderLifetimeMs);
  assert.deepEqual(later.requested, []);
});

test('orders are found by their node, by a prefix of their hash, and page by page', async () => {
  const some = [await issued(anOrder({ container: 'paged' })), await issued(anOrder({ container: 'paged' }))];
  const newestFirst = [...some].reverse();
  const page = (before: number | undefined) => store.listOrders({ container: 'paged' }, { before, limit: 1 }, nowMs);
  const [newest] = await page(undefined);
  assert.equal(newest?.hash, newestFirst[0]);
  assert.equal((await page(newest?.index))[0]?.hash, newestFirst[1]);
  for (const filter of [{ status: 'requested' }, { action: 'terminate' }, { node: 'lyra' }] as const) {
    const found = await store.listOrders({ container: 'paged', ...filter }, { before: undefined, limit: 9 }, nowMs);
    assert.deepEqual(
      found.map(({ hash }) => hash),
      newestFirst,
    );
  }
  assert.deepEqual(await store.listOrders({ status: 'failed' }, { before: undefined, limit: 9 }, nowMs), []);
  const prefixed = await store.ordersNamed((some[0] ?? '').slice(0, 12), nowMs);
  assert.deepEqual(
    prefixed.map(({ hash }) => hash),
    [some[0]],
  );
  assert.equal((await store.ordersNamed('', nowMs)).length, 2);
  const early = await issued(anOrder({ container: 'early', issuedAt: new Date(nowMs - 1).toISOString() }));
  const since = (await store.ordersOf('lyra', nowMs, nowMs)).map(({ hash }) => hash);
  assert.ok(some.every((hash) => since.includes(hash)) && !since.includes(early));
  assert.deepEqual([...since].length, new Set(since).size);
});

test('drifts are told by node and by commit, nodes with what they have adopted, and replicas', async () => {
  const drift: Drift = { id: 'd1', kind: 'IMAGE_DRIFT', container: 'web', containerId: null, differences: [] };
  const commit = `long ${'x'.repeat(1_900)}`;
  const at = '2026-01-01T00:00:00Z';
  const container: ObservedContainer = {
    ...{ id: 'a'.repeat(64), name: 'web', image: 'web:1', imageId: 'sha256:1' },
    ...{ state: 'running', health: 'healthy', exitCode: 0, restartCount: 0 },
    ...{ createdAt: at, startedAt: at, finishedAt: null },
  };
  const idle: ObservedContainer = { ...container, id: 'b'.repeat(64), name: 'idle', state: 'created', startedAt: null };
  await say(ledger, 'lyra', keys.lyra, [
    { kind: 'desired.adopted', body: { commit: 'before', digest: 'a'.repeat(64), containers: 1 } },
    { kind: 'desired.adopted', body: { commit, digest: 'a'.repeat(64), containers: 1 } },
    { kind: 'observed', body: { baseline: true, upserted: [container, idle], removed: [] } },
    { kind: 'drift.opened', body: { drift, commit } },
    { kind: 'drift.opened', body: { drift: { ...drift, id: 'd2' }, commit } },
    { kind: 'drift.resolved', body: { id: 'd2', commit } },
  ]);
  assert.deepEqual(
    (await store.openDrifts('lyra')).map((open) => [open.drift, open.commit]),
    [[drift, commit]],
  );
  const rogue: Drift = { ...drift, id: 'd3', kind: 'UNAUTHORIZED_CONTAINER' };
  await say(ledger, 'lyra', keys.lyra, [
    { kind: 'drift.opened', body: { drift: rogue, commit: null } },
    { kind: 'drift.resolved', body: { id: 'd3', commit: null } },
  ]);
  const [ended, ...others] = await store.endedDrifts('lyra', { sinceMs: 0, afterIndex: -1 });
  assert.deepEqual([ended?.drift, others], [rogue, []]);
  const { endedMs, endedIndex } = ended ?? assert.fail('it never ended');
  assert.deepEqual(await store.endedDrifts('lyra', { sinceMs: endedMs + 1, afterIndex: -1 }), []);
  assert.deepEqual(await store.endedDrifts('lyra', { sinceMs: 0, afterIndex: endedIndex }), []);
  assert.deepEqual(
    (await store.driftsOfCommit(commit, [])).map(({ node, kind }) => [node, kind]),
    [
      ['lyra', 'IMAGE_DRIFT'],
      ['lyra', 'IMAGE_DRIFT'],
    ],
  );
  const next = 'e'.repeat(40);
  const left = async (kinds: readonly DriftKind[]) =>
    (await store.driftsOfCommit(next, kinds)).map(({ node, kind, openedAtMs, changedAtMs, answerable }) => {
      return [node, kind, changedAtMs !== undefined && changedAtMs >= openedAtMs, answerable];
    });
  assert.deepEqual(await left(['CONFIG_DRIFT']), []);
  assert.deepEqual(await left(['IMAGE_DRIFT']), [['lyra', 'IMAGE_DRIFT', false, true]], 'as another commit left it');
  await say(ledger, 'lyra', keys.lyra, [{ kind: 'drift.changed', body: { drift, commit: next } }]);
  assert.deepEqual(await left(['IMAGE_DRIFT']), [['lyra', 'IMAGE_DRIFT', true, true]], 'changed by this one');
  await say(ledger, 'lyra', keys.lyra, [{ kind: 'drift.changed', body: { drift, commit } }]);
  const nodes = await store.nodes();
  assert.deepEqual(
    nodes.map(({ node, adopted, containers }) => [node, adopted?.commit, containers]),
    [
      ['lyra', commit, 1],
      ['node1', undefined, 0],
    ],
  );
  assert.deepEqual(await store.replicas('web'), [{ node: 'lyra', state: 'running', health: 'healthy' }]);
});

test('freezes stand until they are released, and silences until they end', async () => {
  const freeze = (commit: string): Statement => ({
    kind: 'enforcement.frozen',
    body: { commit, drift: 'IMAGE_DRIFT', nodes: ['lyra', 'node1'], reason: 'both' },
  });
  const release: Statement = { kind: 'enforcement.released', body: { commit: 'one', actor: 'operator', reason: 'ok' } };
  const scope = { node: 'lyra', container: null, kind: null };
  const silence = (id: string): Statement => ({
    kind: 'drift.silenced',
    body: { id: id.repeat(64), scope, until: new Date(nowMs + 1_000).toISOString(), actor: 'operator', reason: 'work' },
  });
  for (const statement of [freeze('one'), freeze('two'), release, silence('a'), silence('b')]) {
    await ledger.record(statement);
  }
  await ledger.record({ kind: 'drift.unsilenced', body: { id: 'b'.repeat(64), actor: 'operator', reason: '' } });
  const announced: Statement = {
    kind: 'change.announced',
    body: { text: 'x', approval: { approver: 'a', signature: '' } },
  };
  await ledger.record(announced);
  const standing = async (atMs: number) => {
    const { frozen, silences, announcements } = await store.measures(atMs);
    return [frozen.map(({ body }) => body.commit), silences.map(({ body }) => body.id[0]), announcements.length];
  };
  assert.deepEqual(await standing(nowMs), [['two'], ['a'], 1]);
  assert.deepEqual(await standing(nowMs + 1_000), [['two'], [], 1]);
  await ledger.record(freeze('one'));
  assert.deepEqual((await standing(nowMs))[0], ['two', 'one']);
});
