import type { Queryable } from './pool.ts';
import { ledgerTables, tableAccess } from './roles.ts';

/*
 * Whether what refuses changes of the ledger, and what its entries are shown by, still stands as the migrations made it. Whoever owns
 * the tables can take it down; this is how that is noticed even before anything was changed.
 */

/**
 * SHA-256 of the bodies of functions, by name: those that refuse (`0001_ledger.sql`, `0027_entry_runs.sql`), and those that show
 * entries one by one. None has a namesake with other arguments.
 */
export const guardedFunctions: Readonly<Record<string, string>> = {
  refuse_change: 'da5622cc89be036517407f4d2ad232296deb3804b9850da1f376ee5e07577d95',
  refuse_rewind: '2fad7f2603f190fbcdd8a0868dfa8f92dd575105d7c9d0a26b092a6c73a91a9f',
  refuse_gap: '78bd6fab8b637919a9e2210af812a08b78477b3615a6640056f24a27fe8a7958',
  entries_between: '68d5c2bc4ec8821d0779426b071b455bf56844f3718053c2235a44a3fb27f206',
  chain_between: '7168a4490fbc918fed1c225d850855de16c83d2ab538c75311d1f2c26a4b48e0',
  entries_of: 'ea897b458afe33b4d2a5c273412e0a16d17f92ac0d42f1d1c6ed62bdbcda514e',
  entries_with_bodies: '3dfeda9bb9745b948fe0ec7e5109c8c1675ea4edd084f25fe45a9fef6b4e2bde',
  bodies_of: '61c4e65d6edb5c58a0f8eb91e3d961bd82f6f2200f756c6db3abb2924e981a81',
  body_in_run: '2fc854ed513b6ba43f4a5961a67361501a2769d45855d358d75f57851176bfdc',
  bodies_between: 'cf22c2df02aa1a01dd8fcdc9fcb56ce36af8e34176e462f5c0ab66e508615152',
};

/** The same of views, as the server tells their text (alike from 15 to 18), each blank space as one. */
export const guardedViews: Readonly<Record<string, string>> = {
  body_partitions: 'd2ce7af66bbd51e7fe34c37f6ce435fa5e452dce94aa347aec1c437528374623',
  entries: '5f74913791c62300075827430868ce53217789c66f0a05849d8d3bb48b187e96',
  entries_in_runs: '66184476b77397128754494252554e44fa2b69fcbcc0e7e5954092ed5c7067a7',
  entry_bodies: '45d0382fefdda459cc14fbb7bac8160d4faa369d8ab767a4bb291c0375bbfc0d',
  first_entries: '01818c6456813ea4c7a918e90721fbba442316f4893bb347848d7c64628d9f9a',
};

/**
 * What should refuse changes of the ledger and does not, what shows its entries in another way, and tables that are gone, in words;
 * nothing when all is as it was made.
 */
export async function missingGuards(db: Queryable): Promise<readonly string[]> {
  const { rows } = await db.query<{ missing: string }>(
    `with guarded as (
       select oid, relname from pg_class
        where relnamespace = current_schema()::regnamespace and relname = any($1)
       union all
       select oid, relname from pg_class
        where oid in (select inhrelid from pg_inherits where inhparent = to_regclass('run_bodies'))
     ), refused (type, what) as (
       -- Bits of pg_trigger.tgtype: before = 2; per row = 1, of update = 16 and delete = 8; of truncate = 32; of insert = 4.
       values (27, 'UPDATE and DELETE'), (34, 'TRUNCATE'), (4, 'a gap between rows')
     )
     select format('%s of %s is not refused', what, relname) as missing
       from guarded, refused
      where (type <> 4 or relname = 'entry_runs')
        and not exists (
              select from pg_trigger join pg_proc on pg_proc.oid = tgfoid
               where tgrelid = guarded.oid and tgtype = refused.type and tgenabled in ('O', 'A')
                 and tgqual is null and tgattr = '' and pronamespace = current_schema()::regnamespace
                 and proname = case when type = 4 then 'refuse_gap' when relname = 'ledger_head' and type = 27 then 'refuse_rewind'
                               else 'refuse_change' end)
     union all
     select format('the function %s was replaced', name)
       from unnest($2::text[], $3::text[]) as expected (name, digest)
      where (select bool_and(encode(sha256(convert_to(prosrc, 'UTF8')), 'hex') = digest and not prosecdef
                             and proconfig is not distinct from
                                 case name when 'refuse_gap' then array['enable_seqscan=off', format('search_path=%I, pg_temp', current_schema())] end)
               from pg_proc
              where pronamespace = current_schema()::regnamespace and proname = name) is not true
     union all
     select format('the view %s was replaced', name)
       from unnest($5::text[], $6::text[]) as expected (name, digest)
      where not exists (
              select from pg_class
               where relnamespace = current_schema()::regnamespace and relname = name and relkind = 'v'
                 and encode(sha256(convert_to(regexp_replace(pg_get_viewdef(oid), '\\s+', ' ', 'g'), 'UTF8')), 'hex') = digest)
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
    [
      ledgerTables,
      Object.keys(guardedFunctions),
      Object.values(guardedFunctions),
      Object.keys(tableAccess),
      Object.keys(guardedViews),
      Object.values(guardedViews),
    ],
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
