import type { JobStatus, RunOutcome } from '../../common/job-words.ts';
import type { EnforcementAction } from '../jobs/actions.ts';
import type { DeadLetter, DeadLetterStore, FollowUp } from '../jobs/dead-letters.ts';
import type { JobStore, PinStore, SignedPin } from '../jobs/ports.ts';
import type { Attempt, Ended, Job, Requested } from '../jobs/runs.ts';
import { databaseNow } from './erasure-run-store.ts';
import { type Db, type Queryable, withTransaction } from './pool.ts';

/** What is known of enforcement jobs: one function per statement. */
export function postgresJobStore(db: Db): JobStore & PinStore & DeadLetterStore {
  return {
    now: () => databaseNow(db),
    job: (id) => readJob(db, id),
    begin: (id) => withTransaction(db, (tx) => begin(tx, id)),
    end: (id, n, outcome, error) => end(db, [id, n, outcome, error]),
    pin: (id) => readPin(db, id),
    keep: (id, pin) => withTransaction(db, (tx) => keepPin(tx, id, pin)),
    deadLetter: (id) => readDeadLetter(db, id),
  };
}

interface RequestedRow extends Omit<Requested, 'atMs' | 'retryOf'> {
  readonly at: Date;
  readonly retry_of: string | null;
}

function requestedOf({ at, retry_of, ...row }: RequestedRow): Requested {
  return { ...row, retryOf: retry_of, atMs: at.getTime() };
}

const requestedColumns = 'index, id, artifact, action, target, reason, actor, retry_of, at';

async function readJob(db: Queryable, id: string): Promise<Job | undefined> {
  const requested = await readRequested(db, id);
  return requested && (await jobsOf(db, [requested]))[0];
}

/** All that is known of these, in three statements however many they are. */
async function jobsOf(db: Queryable, requested: readonly Requested[]): Promise<readonly Job[]> {
  const ids = requested.map(({ id }) => id);
  const [attempts, txIds, results] = await Promise.all([
    readAttempts(db, ids),
    readTxIds(db, ids),
    readResults(db, ids),
  ]);
  return requested.map((one) => {
    const result = results.get(one.id) ?? null;
    const txId = result?.txId ?? txIds.get(one.id) ?? null;
    return { requested: one, attempts: attempts.get(one.id) ?? [], txId, result };
  });
}

async function readRequested(db: Queryable, id: string): Promise<Requested | undefined> {
  const { rows } = await db.query<RequestedRow>(
    `select ${requestedColumns} from enforcements where id = $1 order by index limit 1`,
    [id],
  );
  return rows.map(requestedOf)[0];
}

async function readResults(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, Ended>> {
  const { rows } = await db.query<{ id: string; index: number; at: Date; body: Omit<Ended, 'index' | 'atMs'> }>(
    `select distinct on (enforcement) enforcement as id, index, at, body from enforcement_events
      where enforcement = any($1) and kind = 'enforcement.result' order by enforcement, index`,
    [ids],
  );
  return new Map(rows.map(({ id, index, at, body }) => [id, { ...body, index, atMs: at.getTime() }]));
}

async function readAttempts(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, readonly Attempt[]>> {
  const { rows } = await db.query<{
    id: string;
    n: number;
    begun_at: Date;
    ended_at: Date | null;
    outcome: RunOutcome | null;
    error: string | null;
    runs: number;
  }>(
    `select enforcement as id, n, begun_at, ended_at, outcome, error, runs from enforcement_attempts
      where enforcement = any($1) order by enforcement, n`,
    [ids],
  );
  const found = new Map<string, Attempt[]>();
  for (const { id, begun_at, ended_at, ...row } of rows) {
    const attempt = { ...row, begunAtMs: begun_at.getTime(), endedAtMs: ended_at?.getTime() ?? null };
    found.set(id, [...(found.get(id) ?? []), attempt]);
  }
  return found;
}

async function readTxIds(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const { rows } = await db.query<{ id: string; tx_id: string }>(
    'select enforcement as id, tx_id from enforcement_pins where enforcement = any($1)',
    [ids],
  );
  return new Map(rows.map(({ id, tx_id }) => [id, tx_id]));
}

/** A run after one that only waited takes its place: days without a network leave one row, not thousands. */
async function begin(tx: Queryable, id: string): Promise<number> {
  const { rows: again } = await tx.query<{ n: number }>(
    `update enforcement_attempts a
        set begun_at = clock_timestamp(), ended_at = null, outcome = null, error = null, runs = runs + 1
      where enforcement = $1 and outcome = 'waiting'
        and n = (select max(n) from enforcement_attempts where enforcement = $1)
      returning n`,
    [id],
  );
  if (again[0] !== undefined) return again[0].n;
  const { rows } = await tx.query<{ n: number }>(
    `insert into enforcement_attempts (enforcement, n, begun_at, runs)
     select $1, coalesce(max(n), 0) + 1, clock_timestamp(), 1 from enforcement_attempts where enforcement = $1
     returning n`,
    [id],
  );
  return rows[0]?.n ?? 0;
}

async function end(db: Queryable, values: [string, number, RunOutcome, string | null]): Promise<void> {
  await db.query(
    `update enforcement_attempts set ended_at = clock_timestamp(), outcome = $3, error = $4
      where enforcement = $1 and n = $2 and outcome is null`,
    values.map((value) => (typeof value === 'string' ? value.replaceAll('\0', '\ufffd') : value)),
  );
}

async function readPin(db: Queryable, id: string): Promise<SignedPin | undefined> {
  const { rows } = await db.query<SignedPin>(
    'select tx_id as "txId", tx from enforcement_pins where enforcement = $1',
    [id],
  );
  return rows[0];
}

/** Durable before anything is sent; whoever comes second gets what the first one has kept. */
async function keepPin(tx: Queryable, id: string, { txId, tx: text }: SignedPin): Promise<SignedPin> {
  await tx.query(
    `insert into enforcement_pins (enforcement, tx_id, tx, made_at) values ($1, $2, $3, clock_timestamp())
     on conflict (enforcement) do nothing`,
    [id, txId, text],
  );
  return (await readPin(tx, id)) ?? { txId, tx: text };
}

async function readDeadLetter(db: Queryable, id: string): Promise<DeadLetter | undefined> {
  const job = await readJob(db, id);
  if (job?.result?.outcome !== 'failed') return undefined;
  return { ...job, followUp: (await readFollowUps(db, [id])).get(id) ?? null };
}

/** What was done about dead letters, by their ids. */
async function readFollowUps(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, FollowUp>> {
  const { rows } = await db.query<{ of: string; id: string | null; actor: string; reason: string; at: Date }>(
    `select retry_of as of, id, actor, reason, at from enforcements where retry_of = any($1)
      union all
     select enforcement, null, body ->> 'actor', body ->> 'reason', at from enforcement_events
      where enforcement = any($1) and kind = 'enforcement.resolved'`,
    [ids],
  );
  return new Map(
    rows.map(({ of, id, actor, reason, at }): [string, FollowUp] => {
      const atMs = at.getTime();
      const done: FollowUp =
        id === null ? { by: 'resolution', actor, reason, atMs } : { by: 'retry', enforcement: id, actor, atMs };
      return [of, done];
    }),
  );
}

export interface EnforcementFilter {
  readonly artifact?: string | undefined;
  readonly action?: EnforcementAction | undefined;
  readonly status?: JobStatus | undefined;
}

export interface ListPage {
  /** The index after which to go on; lists begin with the newest. */
  readonly after?: number | undefined;
  readonly limit: number;
}

/** Of a row `e` without a result; null before its first run. */
export const lastAttemptStatus = `(select case when a.outcome is null then 'running' else 'retrying' end
    from enforcement_attempts a where a.enforcement = e.id order by a.n desc limit 1)`;

/** Whether nobody has followed up the dead letter whose result is the row `r`. */
export const isOpenLetter = `not (
  exists (select from enforcements f where f.retry_of = r.enforcement)
  or exists (select from enforcement_events f where f.enforcement = r.enforcement and f.kind = 'enforcement.resolved'))`;

/** As `statusOf` has it, of a row `e`. */
const statusOfRow = `coalesce(
  (select r.body ->> 'outcome' from enforcement_events r
    where r.enforcement = e.id and r.kind = 'enforcement.result' order by r.index limit 1),
  ${lastAttemptStatus},
  'pending')`;

/** Where enforcements of a status are found: what has no outcome is in line, what failed has an index, and most of the others are done. */
function enforcementsThat(status: JobStatus | undefined): string {
  switch (status) {
    case undefined:
    case 'done':
      return 'enforcements';
    case 'failed':
      return `(select q.* from enforcement_events r join enforcements q on q.id = r.enforcement
                where r.kind = 'enforcement.result' and r.body ->> 'outcome' = 'failed')`;
    default:
      return `(select q.* from pgboss.job j join enforcements q on q.id = j.data ->> 'id')`;
  }
}

/** Enforcements, newest first. A condition only where it filters, so that each combination is planned by what it asks for. */
export async function listEnforcements(
  db: Queryable,
  { artifact, action, status }: EnforcementFilter,
  { after, limit }: ListPage,
): Promise<readonly Job[]> {
  const asked: readonly (readonly [condition: string, value: unknown])[] = [
    ['artifact =', artifact],
    ['action =', action],
    [`${statusOfRow} =`, status],
    ['index <', after],
  ];
  const given = asked.filter(([, value]) => value !== undefined);
  const conditions = given.map(([condition], at) => `${condition} $${at + 1}`);
  const where = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`;
  const { rows } = await db.query<RequestedRow>(
    `select ${requestedColumns} from ${enforcementsThat(status)} e ${where} order by index desc limit $${given.length + 1}`,
    [...given.map(([, value]) => value), limit],
  );
  return jobsOf(db, rows.map(requestedOf));
}

/** Dead letters, the last that failed first. `index` of a page is that of the result. */
export async function listDeadLetters(
  db: Queryable,
  { open }: { readonly open?: boolean | undefined },
  { after, limit }: ListPage,
): Promise<readonly DeadLetter[]> {
  const { rows } = await db.query<RequestedRow>(
    `select e.${requestedColumns.split(', ').join(', e.')}
       from enforcement_events r
       join lateral (select * from enforcements q where q.id = r.enforcement order by q.index limit 1) e on true
      where r.kind = 'enforcement.result' and r.body ->> 'outcome' = 'failed' and ($1::bigint is null or r.index < $1)
        and ($2::boolean is null or $2 = (${isOpenLetter}))
      order by r.index desc limit $3`,
    [after ?? null, open ?? null, limit],
  );
  const jobs = await jobsOf(db, rows.map(requestedOf));
  const followUps = await readFollowUps(
    db,
    jobs.map(({ requested }) => requested.id),
  );
  return jobs.map((job) => ({ ...job, followUp: followUps.get(job.requested.id) ?? null }));
}
