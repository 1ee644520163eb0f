import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import {
  type BudgetPorts,
  budgetState,
  commitRequest,
  digestOf,
  findRequest,
  releaseRequest,
  requestBudget,
  spendOnOrder,
} from '../../../collector/budgets/budgets.ts';
import { addBudgetsRoutes } from '../../../collector/http/budgets-routes.ts';
import { postgresBudgets } from '../../../collector/postgres/budget-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { parseEntry } from '../../../common/entry.ts';
import { AppError } from '../../../common/errors.ts';
import { startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { served } from '../../serving.ts';

const budgets = { wipes: { limit: 10, per: 'hour' }, 'manual-orders': { limit: 2, per: 'day' } } as const;

let postgres: TestPostgres;
let db: Db;
/** Two collectors on one database. */
let collectors: readonly [BudgetPorts, BudgetPorts];
let one: BudgetPorts;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});
beforeEach(async () => {
  const { url } = await postgres.writerDatabase();
  const open = async (pool: Db): Promise<BudgetPorts> => {
    const ledger = await startLedger(postgresLedgerStore(pool));
    return { store: postgresBudgets(pool), ledger, budgets, randomBytes, actor: 'user:ada', requestId: 'r-1' };
  };
  db = postgres.pool(url);
  collectors = [await open(db), await open(postgres.pool(url))];
  [one] = collectors;
});

const wish = (amount: number) => ({ budget: 'wipes', amount, reason: 'an old disk' });
const isConflict = (thrown: unknown) => thrown instanceof AppError && thrown.code === 'state.conflict';

/** As if so much time had passed for all that was requested. */
const pass = (ms: number) =>
  db.query(
    `update budget_requests set requested_at = requested_at - $1 * interval '1 ms',
            expires_at = expires_at - $1 * interval '1 ms', ended_at = ended_at - $1 * interval '1 ms'`,
    [ms],
  );

async function onRecord() {
  const { rows } = await db.query<{ bytes: Buffer }>('select bytes from entry_bodies order by index');
  const entries = rows.map(({ bytes }) => parseEntry(bytes));
  return entries.flatMap((entry) => (entry.kind === 'auth.event' ? [entry.body] : []));
}

async function remaining(): Promise<number> {
  return (await budgetState(one, 'wipes')).remaining;
}

describe('a budget', () => {
  test('is never passed by a hundred who ask at once in two collectors', async () => {
    const asked = Array.from({ length: 100 }, (_, i) => requestBudget(collectors[i % 2 === 0 ? 0 : 1], wish(1)));
    const outcomes = await Promise.allSettled(asked);
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    assert.equal(outcomes.length - refused.length, 10);
    for (const reason of refused) assert.ok(isConflict(reason), String(reason));
    assert.deepEqual(await onRecord().then((bodies) => bodies.length), 10, 'nobody who was refused is on record');
    const state = await budgetState(one, 'wipes');
    assert.deepEqual([state.used, state.reserved, state.remaining], [0, 10, 0]);
  });

  test('is never passed while others commit, release and let their time run out', async () => {
    const seen: number[] = [];
    const live = async (port: BudgetPorts, turn: number) => {
      const request = await requestBudget(port, wish(1 + (turn % 3)));
      if (turn % 2 === 0) await commitRequest(port, request.id);
      else await releaseRequest(port, request.id);
    };
    for (let round = 0; round < 3; round++) {
      await Promise.allSettled(collectors.flatMap((port) => Array.from({ length: 20 }, (_, i) => live(port, i))));
      const { used, reserved } = await budgetState(one, 'wipes');
      seen.push(used + reserved);
      await pass(30 * 60_000);
    }
    for (const taken of seen) assert.ok(taken <= 10, seen.join());
  });

  test('refuses more than is left, and says how much that is', async () => {
    await requestBudget(one, wish(7));
    await assert.rejects(requestBudget(one, wish(4)), (thrown: unknown) => {
      assert.ok(thrown instanceof AppError && thrown.code === 'state.conflict');
      assert.equal(thrown.details.remaining, 3);
      return true;
    });
    assert.equal((await requestBudget(one, wish(3))).state, 'reserved');
    await assert.rejects(requestBudget(one, { ...wish(1), budget: 'others' }), { code: 'resource.not_found' });
  });

  test('has what was used again when the window has gone past it, and not before', async () => {
    const { id } = await requestBudget(one, wish(10));
    await commitRequest(one, id);
    await pass(3_599_000 - 60_000);
    assert.equal(await remaining(), 0);
    await pass(62_000);
    assert.equal(await remaining(), 10);
    assert.equal((await findRequest(one, id)).state, 'committed');
  });
});

describe('a reservation', () => {
  test('that nobody ends, as after a crash, is given back when its time is over', async () => {
    const { id } = await requestBudget(one, wish(10));
    await pass(14 * 60_000);
    await assert.rejects(requestBudget(one, wish(1)), isConflict);
    await pass(61_000);
    assert.equal(await remaining(), 10);
    await requestBudget(collectors[1], wish(10));
    await assert.rejects(commitRequest(one, id), isConflict);
    assert.equal((await findRequest(one, id)).state, 'expired');
    assert.equal((await releaseRequest(one, id)).state, 'expired');
    assert.equal(await remaining(), 0);
  });

  test('is committed or released once, and the same answer is given again', async () => {
    const used = await requestBudget(one, wish(2));
    const first = await commitRequest(one, used.id);
    assert.deepEqual(await commitRequest(collectors[1], used.id), first);
    await assert.rejects(releaseRequest(one, used.id), isConflict);
    const back = await requestBudget(one, wish(3));
    const released = await releaseRequest(one, back.id);
    assert.deepEqual(await releaseRequest(collectors[1], back.id), released);
    await assert.rejects(commitRequest(one, back.id), isConflict);
    assert.equal(await remaining(), 8);
  });

  test('of several commits at once counts once', async () => {
    const { id } = await requestBudget(one, wish(4));
    const ended = await Promise.all(Array.from({ length: 10 }, (_, i) => commitRequest(collectors[i % 2 ? 1 : 0], id)));
    for (const { state, endedAtMs } of ended) assert.deepEqual([state, endedAtMs], ['committed', ended[0]?.endedAtMs]);
    assert.equal(await remaining(), 6);
  });

  test('is on record with actor and request, and is nobody’s before', async () => {
    const { id } = await requestBudget(one, wish(2));
    await commitRequest(one, id);
    const other = await requestBudget(one, wish(1));
    await releaseRequest(one, other.id);
    const bodies = await onRecord();
    assert.deepEqual(
      bodies.map(({ event, subject }) => `${event}: ${subject}`),
      [
        `budget.requested: 2 of wipes, ${id}`,
        `budget.committed: 2 of wipes, ${id}`,
        `budget.requested: 1 of wipes, ${other.id}`,
        `budget.released: 1 of wipes, ${other.id}`,
      ],
    );
    for (const { actor, requestId, detail } of bodies) {
      assert.deepEqual([actor, requestId, detail], ['user:ada', 'r-1', 'an old disk']);
    }
    const record = async () => assert.fail('the ledger is gone');
    await assert.rejects(requestBudget({ ...one, ledger: { record } }, wish(8)), /the ledger is gone/);
    assert.equal(await remaining(), 8);
    const kept = await requestBudget(one, wish(1));
    await assert.rejects(commitRequest({ ...one, ledger: { record } }, kept.id), /the ledger is gone/);
    assert.equal((await findRequest(one, kept.id)).state, 'reserved');
  });

  test('that a crash left before it was on record can be seen by nobody, and takes up room until its time is over', async () => {
    const id = 'a'.repeat(32);
    const budget = { name: 'wipes', perMs: 3_600_000, limit: 10 };
    await one.store.take({ id, budget, digest: digestOf(budgets), amount: 10, reason: 'x', actor: 'x' });
    await assert.rejects(commitRequest(one, id), { code: 'resource.not_found' });
    assert.deepEqual(await one.store.list({}, { after: undefined, limit: 10 }), []);
    assert.equal(await remaining(), 0);
    await pass(15 * 60_000 + 1);
    assert.equal(await one.store.confirm(id), undefined);
    assert.equal(await remaining(), 10);
  });
});

describe('budgets in force', () => {
  const others = { ...budgets, wipes: { limit: 50, per: 'hour' } } as const;

  test('are those of the collector that started last: with others nothing is given away, not even where they have no budget', async () => {
    const [first, second] = collectors;
    await first.store.putInForce(digestOf(budgets));
    const changed = { ...second, budgets: others };
    await assert.rejects(requestBudget(changed, wish(20)), /other budgets are in force/);
    await assert.rejects(spendOnOrder({ ...second, budgets: {} }, 'an order'), isConflict);
    await second.store.putInForce(digestOf(others));
    await requestBudget(changed, wish(20));
    for (const refused of [
      () => requestBudget(first, wish(1)),
      () => budgetState(first, 'wipes'),
      () => spendOnOrder(first, 'an order'),
    ])
      await assert.rejects(refused(), /other budgets are in force/);
    assert.deepEqual((await onRecord()).length, 1);
  });

  test('do not change between the look and the taking', async () => {
    await one.store.putInForce(digestOf(budgets));
    const changed = { ...collectors[1], budgets: others };
    const asked = Array.from({ length: 40 }, () => requestBudget(one, wish(1)));
    const answers = await Promise.allSettled([...asked, one.store.putInForce(digestOf(others))]);
    const given = answers.filter(({ status }) => status === 'fulfilled').length - 1;
    assert.ok(given <= budgets.wipes.limit, `${given}`);
    assert.equal((await budgetState(changed, 'wipes')).remaining, others.wipes.limit - given);
  });

  test('are the same in whatever order they are written', () => {
    const turned = { 'manual-orders': { per: 'day', limit: 2 }, wipes: { per: 'hour', limit: 10 } } as const;
    assert.equal(digestOf(turned), digestOf(budgets));
    assert.notEqual(digestOf({}), digestOf(budgets));
  });
});

test('the API gives parts away, tells of them, and refuses with what is left', async () => {
  const routes = served((serve) => addBudgetsRoutes(serve, one));
  const ask = async (method: string, path: string, body?: object) => {
    const answer = await routes.request(path, { method, ...(body !== undefined && { body: JSON.stringify(body) }) });
    return { status: answer.status, json: JSON.parse(await answer.text()) };
  };
  const made = await ask('POST', '/api/v1/budgets/wipes/requests', { amount: 4, reason: 'old' });
  assert.deepEqual([made.status, made.json.state, made.json.remaining], [201, 'reserved', 6]);
  const over = await ask('POST', '/api/v1/budgets/wipes/requests', { amount: 7, reason: 'old' });
  assert.deepEqual([over.status, over.json.error_code, over.json.details.remaining], [409, 'state.conflict', 6]);
  const path = `/api/v1/budget-requests/${made.json.request_id}`;
  assert.equal((await ask('POST', `${path}/commit`)).json.state, 'committed');
  assert.equal((await ask('GET', path)).json.state, 'committed');
  const listed = await ask('GET', '/api/v1/budgets');
  assert.deepEqual(
    listed.json.items.map(({ name, remaining: left }: { name: string; remaining: number }) => [name, left]),
    [
      ['manual-orders', 2],
      ['wipes', 6],
    ],
  );
  const lengths = { committed: 1, reserved: 0, released: 0, expired: 0 };
  for (const [state, length] of Object.entries(lengths)) {
    const { json } = await ask('GET', `/api/v1/budget-requests?budget=wipes&state=${state}`);
    assert.equal(json.items.length, length, state);
  }
  for (const body of [{ amount: 0, reason: 'x' }, { amount: 1 }, { amount: 1.5, reason: 'x' }]) {
    assert.equal((await ask('POST', '/api/v1/budgets/wipes/requests', body)).status, 422);
  }
  for (const nothing of ['/api/v1/budgets/none', '/api/v1/budget-requests/none']) {
    assert.equal((await ask('GET', nothing)).status, 404);
  }
});
