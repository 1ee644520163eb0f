import type PgBoss from 'pg-boss';
import { hex64 } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import type { JobQueue } from '../jobs/ports.ts';
import type { ProjectionChanges } from '../ledger/projections.ts';
import type { Step } from './pipeline.ts';
import { type Db, type Queryable, withClient, withTransaction } from './pool.ts';
import { isCollectors } from './projection-store.ts';

/*
 * pg-boss as what it is good at: a line of jobs in the same database, taken with `for update skip locked`, that come back when who
 * took them is gone. How often something is tried, and what becomes of it, is said in the ledger and decided in `collector/jobs/`.
 */

/** The one queue there is; a migration makes it. */
export const enforcementQueue = 'enforcements';

type ExecuteSql = (text: string, values: unknown[]) => Promise<{ rows: unknown[] }>;

/** Loaded when needed: most commands have no jobs. It opens no connection, makes no tables and has no timers of its own. */
async function openBoss(executeSql: ExecuteSql): Promise<PgBoss> {
  const { default: Boss } = await import('pg-boss');
  return new Boss({ db: { executeSql }, migrate: false, supervise: false, schedule: false });
}

/** Jobs have UUIDs, enforcements 32 bytes of chance, of which half is enough to tell them apart. */
function jobIdOf(enforcement: string): string {
  return enforcement.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/**
 * What a commit adds beside the entries and what is derived from them, so never in a replay: a place for each fact that is said once
 * only, which fails the commit when it is taken, and a job for each enforcement that is requested.
 */
export async function jobSteps({ enforcements, enforcementEvents }: ProjectionChanges): Promise<readonly Step[]> {
  const requested = enforcements.filter(isCollectors);
  const facts = [
    ...requested.flatMap(({ id, retryOf }) => [
      `requested:${id}`,
      ...(retryOf === null ? [] : [`followed:${retryOf}`]),
    ]),
    ...enforcementEvents
      .filter(isCollectors)
      .map(({ id, kind }) => (kind === 'enforcement.result' ? `result:${id}` : `followed:${id}`)),
  ];
  if (facts.length === 0) return [];
  const said = {
    text: 'insert into enforcement_facts (fact) select jsonb_array_elements_text($1)',
    values: [JSON.stringify(facts)],
  };
  return [said, ...(await insertSteps(requested.map(({ id }) => id)))];
}

/** Takes down what pg-boss would have run, for a transaction in which nobody waits for answers. */
async function insertSteps(ids: readonly string[]): Promise<readonly Step[]> {
  if (ids.length === 0) return [];
  const steps: Step[] = [];
  const boss = await openBoss(async (text, values) => {
    steps.push({ text, values: values.map(parameter) });
    return { rows: [] };
  });
  await boss.insert(ids.map(jobOf));
  return steps;
}

function jobOf(id: string) {
  return { id: jobIdOf(id), name: enforcementQueue, data: { id } };
}

function parameter(value: unknown): string | number | null {
  if (value === undefined || value === null) return null;
  return typeof value === 'number' ? value : String(value);
}

/** The {@link JobQueue} in PostgreSQL. */
export async function postgresJobQueue(db: Db): Promise<JobQueue> {
  const boss = await openBoss((text, values) => db.query(text, values));
  return {
    take: (limit) => take(boss, db, limit),
    finish: async (id) => {
      await boss.deleteJob(enforcementQueue, jobIdOf(id));
    },
    putOff: (id, dueAtMs) =>
      withTransaction(db, async (tx) => {
        const within = { db: { executeSql: (text: string, values: unknown[]) => tx.query(text, values) } };
        await boss.deleteJob(enforcementQueue, jobIdOf(id), within);
        const startAfter = new Date(dueAtMs);
        await boss.send(enforcementQueue, { id }, { id: jobIdOf(id), startAfter, ...within });
      }),
    // Brings its own BEGIN and COMMIT; where it fails between them the connection has to be cleared.
    reclaim: () =>
      withClient(db, async (client) => {
        const own = await openBoss((text) => client.query(text));
        try {
          await own.expire();
        } catch (thrown) {
          await client.query('rollback').catch(() => {});
          throw thrown;
        }
      }),
    restock: async () => {
      const ids = await withoutJob(db);
      if (ids.length > 0) await boss.insert(ids.map(jobOf));
      return ids.length;
    },
  };
}

/** pg-boss keeps failures of this statement to itself. */
async function take(boss: PgBoss, db: Db, limit: number): Promise<readonly string[]> {
  let failure: unknown;
  const executeSql = async (text: string, values: unknown[]) => {
    try {
      return await db.query(text, values);
    } catch (thrown) {
      failure = thrown;
      throw thrown;
    }
  };
  const jobs = await boss.fetch<{ id: unknown }>(enforcementQueue, { batchSize: limit, db: { executeSql } });
  if (failure !== undefined) throw failure;
  const ids: string[] = [];
  for (const { id, data } of jobs) {
    const parsed = hex64.safeParse(data?.id);
    // Nobody but us puts jobs there, or the database is not ours alone.
    if (parsed.success) ids.push(parsed.data);
    else await boss.deleteJob(enforcementQueue, id);
  }
  return ids;
}

/** Enforcements without outcome that nobody works on: the jobs were lost, with a table or a backup. */
async function withoutJob(db: Queryable): Promise<readonly string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select e.id from enforcements e
      where not exists (select from enforcement_events r where r.enforcement = e.id and r.kind = 'enforcement.result')
        and not exists (select from pgboss.job j where j.name = $1 and j.data ->> 'id' = e.id)
      order by e.index limit $2`,
    [enforcementQueue, limits.maxJobsRestocked],
  );
  return rows.map(({ id }) => id);
}
