import { limits } from '../../common/limits.ts';
import type { StoredEvent } from '../events/ports.ts';
import { kindsInRuns } from './entry-runs.ts';
import type { Queryable } from './pool.ts';
import type { Given, Page } from './query-store.ts';

/*
 * The list of entries, as keyset pages, newest first. Entries stand in runs (`0027_entry_runs.sql`): each statement finds the few runs
 * that its page can be of, and takes only these apart.
 */

export type EntryRow = StoredEvent;

export interface EntryFilter {
  readonly author: Given<string>;
  readonly kind: Given<string>;
  readonly from: Given<string>;
  readonly to: Given<string>;
}

/** What is shown of each entry of a `page`. */
export const entryColumns = 'index, author, seq, kind, at, received_at, entry_hash, leaf_hash, bytes, signature';

/** For each of a `page`: its body, and when it was received, which is with the first batch that reaches beyond it. */
const bodyAndReceipt = `left join lateral body_in_run(run, place) on true
       left join lateral (
         select to_timestamp(received_ms::double precision / 1000) as received_at
           from batches where size > page.index order by size limit 1) receipt on true`;

/** Entries, newest first: by their place in the ledger, or within a time by when their authors say that it was. */
export function listEntries(db: Queryable, filter: EntryFilter, page: Page<number>): Promise<readonly EntryRow[]> {
  const { author, from, to } = filter;
  if (from !== undefined || to !== undefined) return listEntriesWithin(db, filter, page);
  return author === undefined ? listAllEntries(db, filter, page) : listEntriesOf(db, { ...filter, author }, page);
}

async function listAllEntries(
  db: Queryable,
  { kind }: Pick<EntryFilter, 'kind'>,
  page: Page<number>,
): Promise<readonly EntryRow[]> {
  const { rows } = await db.query<EntryRow>(
    `with page as (
       select * from entries_in_runs
        where ($1::text is null or kind = $1) and ($2::bigint is null or (run < $2 and index < $2))
        order by run desc, place desc limit $3)
     select ${entryColumns} from page ${bodyAndReceipt}
      order by run desc, place desc`,
    [kind, page.after, page.limit],
  );
  return rows;
}

/** By the numbers of the author's chain, which go up as the indexes do: there is an index of these already. */
async function listEntriesOf(
  db: Queryable,
  { author, kind }: Pick<EntryFilter, 'kind'> & { readonly author: string },
  page: Page<number>,
): Promise<readonly EntryRow[]> {
  const { rows } = await db.query<EntryRow>(
    `with last as (select seq from entries_between($3, $3::bigint + 1) where author = $1),
     page as (
       select * from entries_in_runs
        where author = $1 and ($2::text is null or kind = $2)
          and ($3::bigint is null or (run_seq < (select seq from last) and seq < (select seq from last)))
        order by run_seq desc, place desc limit $4)
     select ${entryColumns} from page ${bodyAndReceipt}
      order by run_seq desc, place desc`,
    [author, kind, page.after, page.limit],
  );
  return rows;
}

/** What a run must be to hold what is asked for, beside its times. */
const ofAuthorAndKind = '($3::text is null or r.author = $3) and ($4::text is null or r.kind = $4)';
/** Of runs of several entries: nothing else is looked at when the kind is one that always stands alone. */
const ofSeveral = `r.width > 1 and ($4::text is null or $4 in (${[...kindsInRuns].map((kind) => `'${kind}'`).join(', ')}))
          and ${ofAuthorAndKind} and ($1::timestamptz is null or r.times[r.width] >= $1)`;
/** No entry of the page is of a later time. */
const until = 'least($2::timestamptz, (select at from last))';

/**
 * A node that was cut off sends late what it has said long ago, and clocks go wrong, so a time is no stretch of indexes: in the order
 * of indexes all that came later would have to be looked at. In the order of the time there is an index.
 *
 * A run of several entries has some of the page when it ended before the page begins, the later the sooner, as its last entry is
 * of the page then; or when it had begun before that and ended afterwards, which is within the longest time that a run takes.
 */
async function listEntriesWithin(db: Queryable, filter: EntryFilter, page: Page<number>): Promise<readonly EntryRow[]> {
  const { rows } = await db.query<EntryRow>(
    `with last as (
       select case when $5::bigint is null then 'infinity'
                   else coalesce((select at from entries_between($5, $5 + 1)), '-infinity') end as at),
     ended as (
       select r from entry_runs r where ${ofSeveral} and r.times[r.width] < ${until}
        order by r.times[r.width] desc, r.index desc limit $6),
     going_on as (
       select r from entry_runs r
        where ${ofSeveral} and r.times[1] <= ${until} and r.times[r.width] >= ${until}
          and r.times[r.width] <= ${until} + interval '${limits.runMaxMs / 1_000} seconds'),
     alone as (
       select r from entry_runs r
        where r.width = 1 and ${ofAuthorAndKind}
          and ($1::timestamptz is null or r.times[1] >= $1) and ($2::timestamptz is null or r.times[1] < $2)
          and (r.times[1], r.index) < ((select at from last), coalesce($5, ${Number.MAX_SAFE_INTEGER}))
        order by r.times[1] desc, r.index desc limit $6),
     page as (
       select e.*
         from (select r from ended union all select r from going_on union all select r from alone) found
        cross join lateral entries_of(r) e
        where ($1::timestamptz is null or at >= $1) and ($2::timestamptz is null or at < $2)
          and (at, e.index) < ((select at from last), coalesce($5, ${Number.MAX_SAFE_INTEGER}))
        order by at desc, e.index desc limit $6)
     select ${entryColumns} from page ${bodyAndReceipt}
      order by at desc, index desc`,
    [filter.from, filter.to, filter.author, filter.kind, page.after, page.limit],
  );
  return rows;
}
