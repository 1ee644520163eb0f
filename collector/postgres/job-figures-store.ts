import { limits } from '../../common/limits.ts';
import { stateOf } from '../jobs/breakers.ts';
import type { DeadLetterCount } from '../jobs/dead-letters.ts';
import type { JobFigures } from '../jobs/metrics.ts';
import { postgresBreakerStore } from './breaker-store.ts';
import { isOpenLetter, lastAttemptStatus } from './job-store.ts';
import type { Db, Queryable } from './pool.ts';

/** What is counted of jobs. Costs by what is in line and by the newest dead letters, not by how many jobs there ever were. */
export async function jobFigures(db: Db): Promise<JobFigures> {
  const store = postgresBreakerStore(db);
  const nowMs = await store.now();
  const breakers = await store.list();
  return {
    open: await countOpen(db),
    dead: await countDeadLetters(db),
    breakers: breakers.map(({ service, circuit }) => ({ service, state: stateOf(circuit, nowMs) })),
  };
}

/** Jobs in line that have no outcome yet. */
async function countOpen(db: Queryable): Promise<JobFigures['open']> {
  const { rows } = await db.query<JobFigures['open'][number]>(
    `select e.action, coalesce(${lastAttemptStatus}, 'pending') as state, count(*) as count
       from pgboss.job j
      cross join lateral (select * from enforcements where id = j.data ->> 'id' order by index limit 1) e
      where not exists (select from enforcement_events r where r.enforcement = e.id and r.kind = 'enforcement.result')
      group by 1, 2 order by 1, 2`,
  );
  return rows;
}

/** Dead letters that nobody has followed up, of the newest: however many there are, somebody has to look. */
export async function countDeadLetters(db: Queryable): Promise<readonly DeadLetterCount[]> {
  const { rows } = await db.query<DeadLetterCount>(
    `select e.action, count(*) as count
       from (select enforcement, index from enforcement_events
              where kind = 'enforcement.result' and body ->> 'outcome' = 'failed' order by index desc limit $1) r
      cross join lateral (select action from enforcements q where q.id = r.enforcement order by q.index limit 1) e
      where ${isOpenLetter}
      group by e.action order by e.action`,
    [limits.maxDeadLettersCounted],
  );
  return rows;
}
