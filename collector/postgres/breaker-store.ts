import { rfc3339 } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';
import { type BreakerStore, type Circuit, closedCircuit, type StoredBreaker } from '../jobs/breakers.ts';
import { databaseNow } from './erasure-run-store.ts';
import { type Db, type Queryable, type Tx, withTransaction } from './pool.ts';

/** The {@link BreakerStore} in PostgreSQL: one function per statement. */
export function postgresBreakerStore(db: Db): BreakerStore {
  return {
    now: () => databaseNow(db),
    read: async (service) => (await read(db, service))[0],
    list: () => read(db, null),
    succeeded: (service) => succeed(db, service),
    failed: (service, reason, next) =>
      withTransaction(db, async (tx) => {
        await ensure(tx, service);
        const after = next(await lock(tx, service));
        await fail(tx, service, reason, after);
        return after;
      }),
    refused: (service) => refuse(db, service),
    reset: (service) => reset(db, service),
    forget: async (beforeMs) => {
      await db.query('delete from breakers where changed_at < $1', [rfc3339(beforeMs)]);
    },
  };
}

interface CircuitRow {
  readonly failures_in_a_row: number;
  readonly opened_at: Date | null;
  readonly open_until: Date | null;
}

interface Row extends CircuitRow, Omit<StoredBreaker, 'lastFailure' | 'changedAtMs' | 'circuit'> {
  readonly last_failure: string | null;
  readonly changed_at: Date;
}

function circuitOf({ failures_in_a_row, opened_at, open_until }: CircuitRow): Circuit {
  const isOpen = opened_at !== null && open_until !== null;
  return {
    failuresInARow: failures_in_a_row,
    open: isOpen ? { sinceMs: opened_at.getTime(), untilMs: open_until.getTime() } : null,
  };
}

async function read(db: Queryable, service: string | null): Promise<readonly StoredBreaker[]> {
  const { rows } = await db.query<Row>(
    `select service, failures_in_a_row, opened_at, open_until, successes, failures, refused, last_failure, changed_at
       from breakers where $1::text is null or service = $1 order by service limit ${limits.maxBreakersListed}`,
    [service],
  );
  return rows.map(({ failures_in_a_row, opened_at, open_until, last_failure, changed_at, ...row }) => ({
    ...row,
    circuit: circuitOf({ failures_in_a_row, opened_at, open_until }),
    lastFailure: last_failure,
    changedAtMs: changed_at.getTime(),
  }));
}

async function succeed(db: Queryable, service: string): Promise<void> {
  await db.query(
    `insert into breakers as b (service, successes) values ($1, 1)
     on conflict (service) do update
        set failures_in_a_row = 0, opened_at = null, open_until = null, successes = b.successes + 1,
            changed_at = excluded.changed_at`,
    [service],
  );
}

async function ensure(tx: Tx, service: string): Promise<void> {
  await tx.query('insert into breakers (service) values ($1) on conflict do nothing', [service]);
}

async function lock(tx: Tx, service: string): Promise<Circuit> {
  const { rows } = await tx.query<CircuitRow>(
    'select failures_in_a_row, opened_at, open_until from breakers where service = $1 for update',
    [service],
  );
  return rows[0] === undefined ? closedCircuit : circuitOf(rows[0]);
}

async function fail(tx: Tx, service: string, reason: string, { failuresInARow, open }: Circuit): Promise<void> {
  await tx.query(
    `update breakers set failures_in_a_row = $2, opened_at = $3, open_until = $4, failures = failures + 1, last_failure = $5,
                         changed_at = clock_timestamp()
      where service = $1`,
    [
      ...[service, failuresInARow, open && rfc3339(open.sinceMs), open && rfc3339(open.untilMs)],
      reason.replaceAll('\0', '\ufffd'),
    ],
  );
}

async function refuse(db: Queryable, service: string): Promise<void> {
  await db.query('update breakers set refused = refused + 1, changed_at = clock_timestamp() where service = $1', [
    service,
  ]);
}

async function reset(db: Queryable, service: string): Promise<boolean> {
  const { rowCount } = await db.query(
    `update breakers set failures_in_a_row = 0, opened_at = null, open_until = null, successes = 0, failures = 0, refused = 0,
                         last_failure = null, changed_at = clock_timestamp()
      where service = $1`,
    [service],
  );
  return rowCount !== 0;
}
