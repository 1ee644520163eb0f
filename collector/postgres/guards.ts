import type { Queryable } from './pool.ts';
import { ledgerTables, tableAccess } from './roles.ts';

/*
 * Whether what refuses changes of the ledger still stands as the migrations made it. Whoever owns the tables can take it
 * down; this is how that is noticed even before anything was changed.
 */

/** SHA-256 of the bodies of the functions that refuse, by name (`0001_ledger.sql`). */
const refusals: Readonly<Record<string, string>> = {
  refuse_change: 'da5622cc89be036517407f4d2ad232296deb3804b9850da1f376ee5e07577d95',
  refuse_rewind: '2fad7f2603f190fbcdd8a0868dfa8f92dd575105d7c9d0a26b092a6c73a91a9f',
};

/** What should refuse changes of the ledger and does not, and tables that are gone, in words; nothing when all is as it was made. */
export async function missingGuards(db: Queryable): Promise<readonly string[]> {
  const { rows } = await db.query<{ missing: string }>(
    `with guarded as (
       select oid, relname from pg_class
        where relnamespace = current_schema()::regnamespace and relname = any($1)
       union all
       select oid, relname from pg_class
        where oid in (select inhrelid from pg_inherits where inhparent = to_regclass('entry_bodies'))
     ), refused (type, what) as (
       -- Bits of pg_trigger.tgtype: before = 2; per row = 1, of update = 16 and delete = 8; of truncate = 32.
       values (27, 'UPDATE and DELETE'), (34, 'TRUNCATE')
     )
     select format('%s of %s is not refused', what, relname) as missing
       from guarded, refused
      where not exists (
              select from pg_trigger join pg_proc on pg_proc.oid = tgfoid
               where tgrelid = guarded.oid and tgtype = refused.type and tgenabled in ('O', 'A')
                 and tgqual is null and tgattr = '' and pronamespace = current_schema()::regnamespace
                 and proname = case when relname = 'ledger_head' and type = 27 then 'refuse_rewind' else 'refuse_change' end)
     union all
     select format('the function %s was replaced', name)
       from unnest($2::text[], $3::text[]) as expected (name, digest)
      where not exists (
              select from pg_proc
               where pronamespace = current_schema()::regnamespace and proname = name
                 and encode(sha256(convert_to(prosrc, 'UTF8')), 'hex') = digest)
     union all
     -- What would show one thing to one reader and another to the next.
     select format('%s shows rows by policy (row-level security)', relname) from guarded join pg_class using (oid, relname)
      where relrowsecurity or relforcerowsecurity
     union all
     select format('%s is rewritten by the rule %s', relname, rulename) from guarded join pg_rewrite on ev_class = guarded.oid
     union all
     select format('%s has lost its primary key', relname) from guarded
      where not exists (
              select from pg_index where indrelid = guarded.oid and indisprimary and indisunique and indisvalid)
     union all
     select format('%s is no table', relname) from guarded join pg_class using (oid, relname) where relkind not in ('r', 'p')
     union all
     select format('the table %s is missing', name) from unnest($4::text[]) as listed (name)
      where not exists (select from pg_class where relnamespace = current_schema()::regnamespace and relname = name)
      order by missing`,
    [ledgerTables, Object.keys(refusals), Object.values(refusals), Object.keys(tableAccess)],
  );
  return rows.map(({ missing }) => missing);
}

/** Settings under which a power cut, or a failover to the standby, takes back what was committed, as `name = value`. */
export async function looseSettings(db: Queryable): Promise<readonly string[]> {
  const { rows } = await db.query<{ setting: string }>(
    `select format('%s = %s', name, setting) as setting from pg_settings
      where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off'
         or name = 'synchronous_commit' and setting = 'local' and current_setting('synchronous_standby_names') <> ''
      order by name`,
  );
  return rows.map(({ setting }) => setting);
}

/** The standbys that commits wait for, as the server's setting names them, when none at all follows it; else undefined. */
export async function missingStandby(db: Queryable): Promise<string | undefined> {
  // Who may not see more than that there is a row sees no state.
  const { rows } = await db.query<{ names: string }>(
    `select current_setting('synchronous_standby_names') as names
      where current_setting('synchronous_standby_names') <> ''
        and not exists (select from pg_stat_replication where coalesce(state, 'streaming') = 'streaming')`,
  );
  return rows[0]?.names;
}
