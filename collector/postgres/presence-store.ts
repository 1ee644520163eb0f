import { limits } from '../../common/limits.ts';
import type { PresenceStore, Present } from '../presence/holding.ts';
import type { Queryable } from './pool.ts';

/*
 * Which collector holds the socket of which node: one row for each that runs, as it has told last. All times are the database's.
 */

/** What was told before this counts no more. */
const since = `clock_timestamp() - make_interval(secs => ${limits.presenceStaleMs / 1_000})`;

/**
 * SQL of the name of the collector that holds the socket of the node in column `node`; null where none says so. Of two that do, one
 * was killed, or has not looked since: what was told later counts.
 */
export function holderOf(node: string): string {
  return `(select p.name from collectors_present p
            where p.seen_at > ${since} and ${node} = any (p.nodes)
            order by p.seen_at desc, p.id limit 1)`;
}

export function postgresPresence(db: Queryable): PresenceStore {
  return {
    tell: (present) => tell(db, present),
    forgetStale: () => forgetStale(db),
    forget: (id) => forget(db, id),
  };
}

async function tell(db: Queryable, { id, name, nodes }: Present): Promise<void> {
  await db.query(
    `insert into collectors_present (id, name, nodes, seen_at) values ($1, $2, $3, clock_timestamp())
         on conflict (id) do update set name = excluded.name, nodes = excluded.nodes, seen_at = excluded.seen_at`,
    [id, name, nodes],
  );
}

/** Those of collectors that were killed. */
async function forgetStale(db: Queryable): Promise<void> {
  await db.query(`delete from collectors_present where seen_at < ${since}`);
}

async function forget(db: Queryable, id: string): Promise<void> {
  await db.query('delete from collectors_present where id = $1', [id]);
}
