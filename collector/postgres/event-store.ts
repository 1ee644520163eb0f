import { limits } from '../../common/limits.ts';
import type { EventStore, StoredEvent, StoredPage, Stretch } from '../events/ports.ts';
import { databaseFailure, type Queryable } from './pool.ts';

/** Notified with each commit that appends entries, by whoever appends them. */
export const appendedChannel = 'sigilwatch_appended';

/** What live events are read from: one function per statement. */
export function postgresEventStore(db: Queryable): EventStore {
  return {
    size: () => answered(readSize(db)),
    page: (stretch) => answered(readPage(db, stretch)),
    nodesOfOrders: (hashes) => answered(readNodesOfOrders(db, hashes)),
  };
}

/** @throws AppError `database.unreachable` (retryable) when nobody answers. */
async function answered<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (thrown) {
    throw databaseFailure(thrown) ?? thrown;
  }
}

async function readSize(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ size: number }>('select size from ledger_head');
  return rows[0]?.size ?? 0;
}

type FoundEvent = StoredEvent & { readonly found: number };

/** By index, in order. `before` is what the bodies in front of a row come to: the row that goes beyond the limit is still read. */
async function readPage(db: Queryable, { from, to, kinds, authors }: Stretch): Promise<StoredPage> {
  const { rows } = await db.query<FoundEvent>(
    `with found as (
       select * from entries_in_runs
        where run > $1 - ${limits.runMaxEntries} and index >= $1 and ($2::bigint is null or (run < $2 and index < $2))
          and ($3::text[] is null or kind = any($3)) and ($6::text[] is null or author = any($6))
        order by run, place limit $4),
     measured as (
       select found.*, count(*) over () as found,
              coalesce(sum(octet_length(bytes)) over (order by run, place rows between unbounded preceding and 1 preceding), 0)
                as before,
              bytes, signature
         from found left join lateral body_in_run(run, place) on true)
     select index, author, seq, kind, at, received_at, entry_hash, leaf_hash, bytes, signature, found
       from measured left join lateral (
         select to_timestamp(received_ms::double precision / 1000) as received_at
           from batches where size > measured.index order by size limit 1) receipt on true
      where before < $5
      order by run, place`,
    [from, to, kinds, limits.eventPageEntries, limits.eventPageBytes, authors],
  );
  const last = rows.at(-1);
  const isWhole = last === undefined || (rows.length === last.found && rows.length < limits.eventPageEntries);
  const next = isWhole && to !== undefined ? to : (last?.index ?? from - 1) + 1;
  return { events: rows.map(({ found: _, ...event }) => event), next };
}

/** Of an order that was issued or, by a node that was cut off, decided there; the first to say it counts. */
async function readNodesOfOrders(db: Queryable, hashes: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const { rows } = await db.query<{ hash: string; node: string }>(
    'select distinct on (hash) hash, node from orders where hash = any($1) order by hash, index',
    [hashes],
  );
  return new Map(rows.map(({ hash, node }) => [hash, node]));
}
