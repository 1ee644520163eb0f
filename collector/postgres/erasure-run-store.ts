import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { ErasureRoom, ErasureStore, PreparedErasure, Span, SpanFacts } from '../ledger/erasure/erasure.ts';
import type { BodyPartition, ErasureGround } from '../ledger/erasure/plan.ts';
import { rebuildTo } from '../ledger/replay.ts';
import { readErasureStatements } from './erasure-store.ts';
import { connectClient, type DatabaseOptions, inTransaction, type Queryable, type Tx } from './pool.ts';
import { digestBase, projections, replaySpace, schemaOfTables, upkeepLock } from './replay-store.ts';

const { escapeIdentifier } = pg;

/** The condition for runs `e`, of one entry each, whose bodies later ones are judged by: `verify-entry.ts` says which kinds those are. */
const kept = `e.kind in ('ledger.created', 'node.enrolled', 'node.revoked', 'ledger.erased')`;

/** When the last of the entries before the boundary had been received, as the collector has signed. */
const boundaryTime = `(select to_timestamp(received_ms / 1000.0) from batches where size >= $1 order by size limit 1)`;

/**
 * What was over at the boundary, by table: a base does not hold it, and erasure takes it out of the projections. Asked of the
 * doubles first and then of the stored tables, so where it takes other rows to know, those of the doubles count, which hold
 * what is known at the boundary.
 */
const over: Readonly<Record<string, string>> = {
  drifts: 'resolved_index < $1',
  findings: 'cleared_index < $1',
  coverage: 'index < $1',
  coverage_gaps: 'index < $1',
  // A day more, since that long an order counts for the daily limit. What was put into quarantine stays there.
  orders: `index < $1 and action not in ('quarantine', 'release')
           and greatest(issued_at, expires_at) < ${boundaryTime} - interval '24 hours'`,
  order_events: 'index < $1 and not exists (select from pg_temp.orders o where o.hash = order_hash)',
  // The commit that a node has adopted last is in force, however long ago that was; what people decided is kept.
  measures: `index < $1 and kind = 'desired.adopted' and exists (
               select from pg_temp.measures later
                where later.kind = 'desired.adopted' and later.node = measures.node and later.index > measures.index)`,
  // What an artifact is known as now stays, and its last score; of scores as much as a trend is made of.
  artifact_registrations: `index < $1 and exists (
               select from pg_temp.artifact_registrations later
                where later.id = artifact_registrations.id and later.index > artifact_registrations.index)`,
  artifact_scores: `index < $1 and at < ${boundaryTime} - interval '28 days' and exists (
               select from pg_temp.artifact_scores later
                where later.artifact = artifact_scores.artifact and later.index > artifact_scores.index)`,
};

/** PostgreSQL's `lock_not_available`, and `deadlock_detected`. */
const inTheWay = new Set(['55P03', '40P01']);

/**
 * @param db for reading; any user of the database will do.
 * @param owner the user who owns the tables: nobody else may drop.
 */
export function postgresErasureStore(db: Queryable, owner: DatabaseOptions): ErasureStore {
  return {
    ground: () => readGround(db),
    receivedMs: (partition) => readReceivedMs(db, partition),
    facts: (span) => readFacts(db, span),
    statements: () => readErasureStatements(db),
    alone: (work) => alone(owner, work),
  };
}

/**
 * Keeps erasures and repairs away for as long as `work` takes, on a connection of its own; waits for one that is under way.
 * @param onWait told when there is one.
 */
export async function undisturbed<T>(
  database: DatabaseOptions,
  work: () => Promise<T>,
  onWait: () => void = () => {},
): Promise<T> {
  const client = await connectClient(database);
  try {
    const { rows } = await client.query<{ got: boolean }>('select pg_try_advisory_lock_shared($1) as got', [
      upkeepLock,
    ]);
    if (rows[0]?.got !== true) {
      onWait();
      await client.query('select pg_advisory_lock_shared($1)', [upkeepLock]);
    }
    return await work();
  } finally {
    await client.end();
  }
}

async function readGround(db: Queryable): Promise<ErasureGround> {
  const { rows } = await db.query<{ size: number; boundary: number; partitions: readonly BodyPartition[] }>(
    `select coalesce((select size from ledger_head), 0) as size,
            (select coalesce(max(boundary), 0) from projection_bases) as boundary,
            (select coalesce(jsonb_agg(jsonb_build_object('from', from_index, 'to', to_index, 'bytes', bytes)
                                       order by from_index), '[]')
               from body_partitions) as partitions`,
  );
  return rows[0] ?? { size: 0, boundary: 0, partitions: [] };
}

/** Of the batches with entries between the two indexes: clocks may have been set back. */
const receivedBetween = `select min(received_ms) as first, max(received_ms) as last from batches
  where size > $1 and size <= (select min(size) from batches where size >= $2)`;

async function readReceivedMs(db: Queryable, { from, to }: Span): Promise<number> {
  const { rows } = await db.query<{ last: number | null }>(receivedBetween, [from, to]);
  return rows[0]?.last ?? Number.POSITIVE_INFINITY;
}

async function readFacts(db: Queryable, { from, to }: Span): Promise<SpanFacts> {
  const received = await db.query<{ first: number | null; last: number | null }>(receivedBetween, [from, to]);
  const bodies = await db.query<{ kept: number }>(
    `select count(*) as kept from entry_runs e where ${kept} and e.index >= $1 and e.index < $2`,
    [from, to],
  );
  const [span] = received.rows;
  return { keptBodies: bodies.rows[0]?.kept ?? 0, firstMs: span?.first ?? null, lastMs: span?.last ?? null };
}

/** The lock belongs to the session: it is given back however this ends. */
async function alone<T>(owner: DatabaseOptions, work: (room: ErasureRoom) => Promise<T>): Promise<T> {
  const client = await connectClient(owner);
  try {
    await requireOwner(client);
    const { rows } = await client.query<{ got: boolean }>('select pg_try_advisory_lock($1) as got', [upkeepLock]);
    if (rows[0]?.got !== true) {
      const others = 'another erasure, a verification or a repair of the projections is under way';
      throw new AppError('state.busy', `${others}; try again when it is done`, { retryable: true });
    }
    return await work({
      prepare: (to, { collectorKey, onProgress, signal }, then) =>
        inTransaction(client, async (tx) => {
          const space = await replaySpace(tx);
          await rebuildTo(space, to, { collectorKey, onProgress: (done, of) => onProgress('rebuild', done, of) });
          return then(await prepare(tx, { to, signal }));
        }),
    });
  } finally {
    await client.end();
  }
}

async function requireOwner(client: Tx): Promise<void> {
  const { rows } = await client.query<{ name: string; may: boolean }>(
    `select current_user::text as name, pg_has_role(relowner, 'usage') as may
       from pg_class where oid = 'run_bodies'::regclass`,
  );
  const [user] = rows;
  if (user === undefined || user.may) return;
  throw new AppError(
    'validation.config',
    `erasing drops tables, which only their owner may, and ${user.name} is not: set database.ownerUrl (DATABASE_OWNER_URL) to the user who owns the tables`,
    { details: { user: user.name } },
  );
}

/** All that takes long; nobody else sees or feels any of it before the drop. */
async function prepare(tx: Tx, { to, signal }: Omit<Drop, 'table'>): Promise<PreparedErasure> {
  await removeOver(tx, 'pg_temp', to);
  await storeBase(tx, to);
  const table = `run_bodies_to_${String(to).padStart(12, '0')}`;
  const keptBodies = await copyKept(tx, table, to);
  return { base: await digestBase(tx, to), keptBodies, drop: () => drop(tx, { table, to, signal }) };
}

async function removeOver(tx: Tx, schema: string, boundary: number): Promise<void> {
  for (const [table, condition] of Object.entries(over)) {
    await tx.query(`delete from ${schema}.${table} where ${condition}`, [boundary]);
  }
}

/** Rows in an order that depends on nothing but themselves. */
async function storeBase(tx: Tx, boundary: number): Promise<void> {
  await tx.query('delete from projection_bases');
  for (const { table } of projections) {
    await tx.query(
      `insert into projection_bases (boundary, n, relation, content)
       select $1, (select count(*) from projection_bases) + row_number() over (order by content collate "C") - 1, $2, content
         from (select to_jsonb(r)::text as content from pg_temp.${table} r) rows`,
      [boundary, table],
    );
  }
}

/** A table fit to be the partition of all erased entries, with the few bodies among them that stay. */
async function copyKept(tx: Tx, table: string, to: number): Promise<number> {
  const name = escapeIdentifier(table);
  await tx.query('select new_body_partition($1)', [table]);
  const { rows } = await tx.query<{ owner: string }>(
    `select pg_get_userbyid(relowner)::text as owner from pg_class where oid = 'run_bodies'::regclass`,
  );
  await tx.query(`alter table ${name} owner to ${escapeIdentifier(rows[0]?.owner ?? '')}`);
  const { rowCount } = await tx.query(
    `insert into ${name} (index, ends, leaves)
     select b.index, b.ends, b.leaves from entry_runs e join run_bodies b on b.index = e.index
      where ${kept} and e.index < $1`,
    [to],
  );
  return rowCount ?? 0;
}

interface Drop {
  readonly table: string;
  readonly to: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Takes effect with the commit. Whoever appends or reads bodies waits while the partitions change places, so this does not queue
 * for long behind one who reads at length, but steps back and tries again.
 */
async function drop(tx: Tx, { table, to, signal }: Drop): Promise<void> {
  const schema = await schemaOfTables(tx);
  for (let attempt = 1; ; attempt++) {
    await tx.query('savepoint before_drop');
    try {
      await removeOver(tx, schema, to);
      await tx.query(`set local lock_timeout = ${limits.erasureLockWaitMs}`);
      await exchangePartitions(tx, { table, to });
      await tx.query('release savepoint before_drop');
      return;
    } catch (thrown) {
      if (!inTheWay.has(errnoOf(thrown) ?? '')) throw thrown;
      await tx.query('rollback to savepoint before_drop');
      if (attempt === limits.erasureLockTries || signal?.aborted === true) throw neverFree(to, thrown);
      await delay(limits.erasureLockPauseMs, undefined, signal && { signal }).catch(() => {});
    }
  }
}

async function exchangePartitions(tx: Tx, { table, to }: Omit<Drop, 'signal'>): Promise<void> {
  await tx.query('lock table run_bodies in access exclusive mode');
  const { rows } = await tx.query<{ name: string }>(
    'select name from body_partitions where to_index <= $1 order by from_index',
    [to],
  );
  await tx.query(`drop table ${rows.map(({ name }) => escapeIdentifier(name)).join(', ')}`);
  const bounds = `from (0) to (${to})`;
  await tx.query(`alter table run_bodies attach partition ${escapeIdentifier(table)} for values ${bounds}`);
}

function neverFree(to: number, cause: unknown): AppError {
  return new AppError(
    'state.busy',
    `the erasure of what comes before ${to} is on record, but somebody reads the bodies all the time; nothing is dropped yet, the next "ledger erase" or start of a collector does it`,
    { cause, retryable: true, details: { to } },
  );
}

/** The server's clock, Unix milliseconds. */
export async function databaseNow(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ now: Date }>('select clock_timestamp() as now');
  return rows[0]?.now.getTime() ?? Number.NaN;
}
