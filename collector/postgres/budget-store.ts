import type { BudgetRequestState } from '../../common/budget-words.ts';
import { limits } from '../../common/limits.ts';
import type {
  BudgetFilter,
  BudgetRequest,
  BudgetStore,
  BudgetUsage,
  BudgetWindow,
  BudgetWish,
} from '../budgets/ports.ts';
import { type Db, type Queryable, type Tx, withTransaction } from './pool.ts';

/** The {@link BudgetStore} in PostgreSQL: one function per statement. */
export function postgresBudgets(db: Db): BudgetStore {
  return {
    putInForce: (digest) => putInForce(db, digest),
    inForce: () => readInForce(db),
    take: (wish) =>
      withTransaction(db, async (tx) => {
        const { budget, amount, digest } = wish;
        const inForce = await holdInForce(tx);
        if (inForce !== undefined && inForce !== digest) return { is: 'others in force' };
        await lockBudget(tx, budget.name);
        await settle(tx, budget.name);
        await sweep(tx);
        const { used, reserved } = await readUsage(tx, budget);
        const remaining = Math.max(0, budget.limit - used - reserved);
        if (amount > remaining) return { is: 'too much', remaining };
        await insert(tx, wish);
        return { is: 'taken' };
      }),
    confirm: (id) => confirm(db, id),
    forget: async (id) => {
      await db.query(`delete from budget_requests where id = $1 and state = 'asked'`, [id]);
    },
    find: (id) => read(db, id),
    commit: (id, budget) =>
      withTransaction(db, async (tx) => {
        await lockBudget(tx, budget);
        return end(tx, id, 'committed');
      }),
    release: (id) => end(db, id, 'released'),
    usage: (budget) => readUsage(db, budget),
    list: (filter, page) => list(db, filter, page),
  };
}

interface Row {
  readonly id: string;
  readonly seq: string;
  readonly budget: string;
  readonly amount: number;
  readonly reason: string;
  readonly actor: string;
  readonly state_now: BudgetRequestState;
  readonly requested_at: Date;
  readonly expires_at: Date;
  readonly ended_at: Date | null;
}

/** Of the statement and not of the transaction, which may have waited for the lock since. */
const now = 'statement_timestamp()';

const columns = `id, seq, budget, amount, reason, actor, requested_at, expires_at, ended_at,
  case when state = 'reserved' and expires_at <= ${now} then 'expired' else state end as state_now`;

function toRequest({ requested_at, expires_at, ended_at, seq, state_now, ...row }: Row): BudgetRequest {
  return {
    ...row,
    seq: Number(seq),
    state: state_now,
    requestedAtMs: requested_at.getTime(),
    expiresAtMs: expires_at.getTime(),
    endedAtMs: ended_at?.getTime() ?? null,
  };
}

async function putInForce(db: Queryable, digest: string): Promise<void> {
  await db.query(
    `insert into budgets_in_force (digest, since) values ($1, ${now})
     on conflict (is_only) do update set digest = excluded.digest, since = excluded.since
      where budgets_in_force.digest <> excluded.digest`,
    [digest],
  );
}

async function readInForce(db: Queryable): Promise<string | undefined> {
  const { rows } = await db.query<{ digest: string }>('select digest from budgets_in_force');
  return rows[0]?.digest;
}

/** As {@link readInForce}, and so it stays until the transaction has ended. */
async function holdInForce(tx: Tx): Promise<string | undefined> {
  const { rows } = await tx.query<{ digest: string }>('select digest from budgets_in_force for share');
  return rows[0]?.digest;
}

const budgetsLock = 7_600_021;

/**
 * What adds to a budget, or moves within it, happens one after the other, in all collectors: a commit that comes in time counts
 * for whoever asks after it, and whoever asks does not see half of one.
 */
async function lockBudget(tx: Tx, budget: string): Promise<void> {
  await tx.query('select pg_advisory_xact_lock($1, hashtext($2))', [budgetsLock, budget]);
}

/** What has expired says so itself, so that few that are open are looked at. */
async function settle(tx: Tx, budget: string): Promise<void> {
  await tx.query(
    `update budget_requests set state = 'expired'
      where budget = $1 and state in ('asked', 'reserved') and expires_at <= ${now}`,
    [budget],
  );
}

async function sweep(tx: Tx): Promise<void> {
  await tx.query(
    `delete from budget_requests where seq in (
       select seq from budget_requests where requested_at < ${now} - interval '${limits.budgetRequestKeptMs} milliseconds'
        order by requested_at limit $1 for update skip locked)`,
    [limits.budgetSweepRows],
  );
}

async function readUsage(db: Queryable, { name, perMs }: BudgetWindow): Promise<BudgetUsage> {
  const { rows } = await db.query<{ used: string; reserved: string; frees_at: Date | null }>(
    `with taken as (
       select amount, false as is_used, expires_at as frees_at from budget_requests
        where budget = $1 and state in ('asked', 'reserved') and expires_at > ${now}
       union all
       select amount, true, ended_at + $2 * interval '1 millisecond' from budget_requests
        where budget = $1 and state = 'committed' and ended_at > ${now} - $2 * interval '1 millisecond'
     )
     select coalesce(sum(amount) filter (where is_used), 0) as used,
            coalesce(sum(amount) filter (where not is_used), 0) as reserved, min(frees_at) as frees_at
       from taken`,
    [name, perMs],
  );
  const { used = 0, reserved = 0, frees_at = null } = rows[0] ?? {};
  return { used: Number(used), reserved: Number(reserved), freesAtMs: frees_at?.getTime() ?? null };
}

async function insert(tx: Tx, { id, budget, amount, reason, actor }: BudgetWish): Promise<void> {
  await tx.query(
    `insert into budget_requests (id, budget, amount, reason, actor, state, requested_at, expires_at)
     values ($1, $2, $3, $4, $5, 'asked', ${now}, ${now} + interval '${limits.budgetReservationMs} milliseconds')`,
    [id, budget.name, amount, reason, actor],
  );
}

/** Its amount is the same before and after, so nothing has to wait. */
async function confirm(db: Queryable, id: string): Promise<BudgetRequest | undefined> {
  const { rows } = await db.query<Row>(
    `update budget_requests set state = 'reserved' where id = $1 and state = 'asked' and expires_at > ${now}
     returning ${columns}`,
    [id],
  );
  return rows.map(toRequest)[0];
}

async function end(db: Queryable, id: string, state: 'committed' | 'released'): Promise<BudgetRequest | undefined> {
  const { rows } = await db.query<Row>(
    `update budget_requests set state = $2, ended_at = ${now} where id = $1 and state = 'reserved' and expires_at > ${now}
     returning ${columns}`,
    [id, state],
  );
  return rows.map(toRequest)[0];
}

async function read(db: Queryable, id: string): Promise<BudgetRequest | undefined> {
  const { rows } = await db.query<Row>(`select ${columns} from budget_requests where id = $1 and state <> 'asked'`, [
    id,
  ]);
  return rows.map(toRequest)[0];
}

/** One reading per state that is stored: each has an index in the order of the list. */
async function list(
  db: Queryable,
  { budget, state }: BudgetFilter,
  { after, limit }: { readonly after: number | undefined; readonly limit: number },
): Promise<readonly BudgetRequest[]> {
  const ofBudget = budget === undefined ? '' : 'and budget = $3';
  const readings = storedAs(state).map(
    (where) => `(select * from budget_requests where ${where} and seq < $1 ${ofBudget} order by seq desc limit $2)`,
  );
  const { rows } = await db.query<Row>(
    `select ${columns} from (${readings.join(' union all ')}) r order by seq desc limit $2`,
    [after ?? Number.MAX_SAFE_INTEGER, limit, ...(budget === undefined ? [] : [budget])],
  );
  return rows.map(toRequest);
}

function storedAs(state: BudgetRequestState | undefined): readonly string[] {
  if (state === undefined) return [`state <> 'asked'`];
  if (state === 'reserved') return [`state = 'reserved' and expires_at > ${now}`];
  if (state === 'expired') return [`state = 'expired'`, `state = 'reserved' and expires_at <= ${now}`];
  return [`state = '${state}'`];
}
