import type { Db } from '../../collector/postgres/pool.ts';
import type { FleetDone } from './fleet-words.ts';

/** What the ledger holds of the nodes, asked of its tables. */
export interface FleetAudit {
  /** Entries of the nodes. */
  readonly entries: number;
  /** Entries under a number that another has, and reports about a minute that another is about. */
  readonly duplicates: number;
  /** Entries that the nodes have signed and the ledger does not hold, and the other way round. */
  readonly missing: number;
  /** Nodes whose chain ends with another entry than the one that they ended it with. */
  readonly otherHeads: number;
}

/**
 * Each entry names the hash of the one before, and the collector lets no entry in that does not follow: a chain that is as long
 * as its node's, and ends with the same hash, holds what its node has said and nothing else.
 */
export async function auditFleet(db: Db, heads: FleetDone['heads']): Promise<FleetAudit> {
  const chains = await readChains(db);
  const said = heads.reduce((sum, { seq }) => sum + seq, 0);
  const held = [...chains.values()];
  const entries = held.reduce((sum, chain) => sum + chain.entries, 0);
  const repeated = held.reduce((sum, { entries, numbers, reports, minutes }) => {
    return sum + (entries - numbers) + (reports - minutes);
  }, 0);
  return {
    entries,
    duplicates: repeated,
    missing: Math.abs(said - (entries - repeated)),
    otherHeads: heads.filter(({ node, seq, hash }) => {
      const chain = chains.get(node);
      return chain?.entries !== seq || chain.last !== hash;
    }).length,
  };
}

interface ChainRow {
  readonly author: string;
  readonly entries: number;
  readonly numbers: number;
  readonly reports: number;
  readonly minutes: number;
  /** Hash of the last entry, hex. */
  readonly last: string;
}

/** Bodies are read run by run, and sorted without: the ledger is larger than the memory for that. */
async function readChains(db: Db): Promise<ReadonlyMap<string, ChainRow>> {
  const { rows } = await db.query<ChainRow>(
    `with said as materialized (
       select r.author, r.seq + b.index - r.index as seq, substr(r.entry_hashes, 32 * (b.index - r.index)::int + 1, 32) as hash,
              case when r.kind = 'report' then convert_from(b.bytes, 'UTF8')::jsonb -> 'body' ->> 'minute' end as minute
         from entry_runs r cross join lateral bodies_between(r.index, r.index + r.width) b
        where r.author like 'sim%')
     select author, count(*) as entries, count(distinct seq) as numbers, count(minute) as reports,
            count(distinct minute) as minutes, encode((array_agg(hash order by seq desc))[1], 'hex') as last
       from said
      group by author`,
  );
  return new Map(rows.map((row) => [row.author, row]));
}

/** Where the database stands, in bytes. */
export interface Volume {
  readonly database: number;
  /** Everything that was ever written to the write-ahead log. */
  readonly wal: number;
}

export async function readVolume(db: Db): Promise<Volume> {
  const { rows } = await db.query<Volume>(
    `select pg_database_size(current_database()) as database, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint as wal`,
  );
  return rows[0] ?? { database: 0, wal: 0 };
}

/** Rows and bytes of the largest tables, indexes included. */
export interface TableSize {
  readonly name: string;
  readonly rows: number;
  readonly bytes: number;
}

/** Partitions count as their table. */
export async function readTables(db: Db): Promise<readonly TableSize[]> {
  const { rows } = await db.query<TableSize>(
    `select regexp_replace(relname, '_\\d{6}$', '') as name, sum(n_live_tup)::bigint as rows,
            sum(pg_total_relation_size(relid))::bigint as bytes
       from pg_stat_user_tables group by 1 order by 3 desc`,
  );
  return rows;
}

/** The process that all processes of the server are children of. */
export async function postmasterOf(db: Db, parentOf: (pid: number) => number): Promise<number> {
  const { rows } = await db.query<{ pid: number }>('select pg_backend_pid() as pid');
  return parentOf(rows[0]?.pid ?? 0);
}
