import { createHash } from 'node:crypto';
import { AppError } from '../../common/errors.ts';
import { project } from '../ledger/projections.ts';
import type {
  RepairSpace,
  ReplaySpace,
  Replays,
  RowDifference,
  StoredBase,
  StoredBody,
  TableComparison,
} from '../ledger/replay.ts';
import { readErasureStatements } from './erasure-store.ts';
import { moveAuthorHeads } from './ledger-store.ts';
import { connectClient, type DatabaseOptions, inTransaction, type Tx } from './pool.ts';
import { applyProjections } from './projection-store.ts';

/** A projection: its key, and for each column the one that names the entry its value comes from. */
export interface Projection {
  readonly table: string;
  readonly key: readonly string[];
  readonly source: (column: string | undefined) => string | undefined;
}

const nodeSources: Readonly<Record<string, string | undefined>> = {
  started_at: 'started_index',
  agent_version: 'started_index',
  hostname: 'started_index',
  last_index: 'last_index',
  last_entry_at: 'last_index',
  report_index: 'report_index',
  report_minute: 'report_index',
  coverage: 'report_index',
  containers: 'report_index',
  unobserved: 'report_index',
  open_drifts: 'report_index',
  stores: 'report_index',
  commit: 'report_index',
  disk: 'report_index',
  started_index: 'started_index',
};

/** Everything else is of the registration that counts. */
const artifactSources: Readonly<Record<string, string | undefined>> = {
  first_index: 'first_index',
  first_at: 'first_index',
  score_index: 'score_index',
  scored_at: 'score_index',
  total: 'score_index',
};

const endings = new Set(['resolved_index', 'resolved_at', 'cleared_index', 'cleared_at']);

/** Every table that is derived from the entries. A test holds that there is no other. */
export const projections: readonly Projection[] = [
  { table: 'author_heads', key: ['author'], source: () => 'index' },
  { table: 'nodes', key: ['node'], source: (column = '') => nodeSources[column] ?? 'enrolled_index' },
  { table: 'containers', key: ['node', 'id'], source: () => 'seen_index' },
  {
    table: 'drifts',
    key: ['opened_index'],
    source: (column = 'opened_at') =>
      endings.has(column) ? 'resolved_index' : column === 'opened_at' ? 'opened_index' : 'changed_index',
  },
  {
    table: 'findings',
    key: ['opened_index'],
    source: (column = '') => (endings.has(column) ? 'cleared_index' : 'opened_index'),
  },
  { table: 'coverage', key: ['node', 'minute'], source: () => 'index' },
  { table: 'coverage_gaps', key: ['index'], source: () => 'index' },
  { table: 'orders', key: ['index'], source: () => 'index' },
  { table: 'order_events', key: ['index'], source: () => 'index' },
  { table: 'measures', key: ['index'], source: () => 'index' },
  { table: 'artifacts', key: ['id'], source: (column = '') => artifactSources[column] ?? 'registered_index' },
  { table: 'artifact_registrations', key: ['index'], source: () => 'index' },
  { table: 'artifact_scores', key: ['index'], source: () => 'index' },
  { table: 'enforcements', key: ['index'], source: () => 'index' },
  { table: 'enforcement_events', key: ['index'], source: () => 'index' },
];

/** Differing rows that are shown of one table. */
const maxRowsShown = 20;
/** Rows of a base read at once. */
const basePageRows = 5_000;
/**
 * Taken by whoever replaces projections or erases: two at once would undo each other's work. Shared by whoever reads bodies for
 * long and must not take an erasure for a loss.
 */
export const upkeepLock = 7_600_006;

/**
 * Spaces on connections of their own, for two reasons: a replay takes longer than the pool lets a statement take, and a
 * statement prepared before its table had a double would go on using the table.
 */
export function postgresReplays(database: DatabaseOptions): Replays {
  return {
    check: (work) =>
      withConnection(database, (tx) =>
        inTransaction(tx, async () => {
          await tx.query('set transaction isolation level repeatable read');
          await keepBodies(tx);
          return work(await replaySpace(tx));
        }),
      ),
    repair: (work) =>
      withConnection(database, (tx) =>
        inTransaction(tx, async () => {
          await lockUpkeep(tx);
          return work(repairSpace(tx, await replaySpace(tx)));
        }),
      ),
  };
}

async function withConnection<T>(database: DatabaseOptions, work: (tx: Tx) => Promise<T>): Promise<T> {
  const client = await connectClient(database);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/**
 * No body is dropped before the end of the transaction. For those that see one moment, and before they do: a partition that took
 * the place of others since then would look empty to them.
 */
export async function keepBodies(tx: Tx): Promise<void> {
  await tx.query('lock table run_bodies in access share mode');
}

/** Until the end of the transaction. @throws AppError `state.busy` when another repair or erasure has it. */
export async function lockUpkeep(tx: Tx): Promise<void> {
  const { rows } = await tx.query<{ got: boolean }>('select pg_try_advisory_xact_lock($1) as got', [upkeepLock]);
  if (rows[0]?.got === true) return;
  throw new AppError('state.busy', 'a repair of the projections or an erasure is under way', { retryable: true });
}

/** Makes the doubles: temporary tables come before all others where a statement names no schema. */
export async function replaySpace(tx: Tx): Promise<ReplaySpace> {
  // Values are compared and kept as text here and there, which must not depend on how somebody configured the server.
  await tx.query(`set local timezone = 'UTC'; set local bytea_output = 'hex'; set local datestyle = 'ISO'`);
  const schema = await schemaOfTables(tx);
  for (const { table } of projections) {
    await tx.query(`create temp table ${table} (like ${schema}.${table} including all) on commit drop`);
  }
  const analyze = analyzeAsTheyGrow(tx);
  return {
    size: () => readSize(tx),
    entries: (from, to) => readBodies(tx, from, to),
    erasures: () => readErasureStatements(tx),
    base: () => readBase(tx),
    loadBase: (boundary) => loadBase(tx, boundary),
    apply: async (entries) => {
      await moveAuthorHeads(tx, entries);
      await applyProjections(tx, project(entries));
      await analyze(entries.length);
    },
    compare: async () => {
      const tables: TableComparison[] = [];
      for (const projection of projections) tables.push(await compareTable(tx, schema, projection));
      return tables;
    },
  };
}

function repairSpace(tx: Tx, space: ReplaySpace): RepairSpace {
  return {
    ...space,
    lock: async () => {
      await tx.query('select from ledger_head for update');
    },
    replace: async () => {
      const schema = await schemaOfTables(tx);
      for (const projection of projections) await replaceRows(tx, schema, projection);
    },
  };
}

/** Where the tables are that the doubles stand in front of, quoted. */
export async function schemaOfTables(tx: Tx): Promise<string> {
  const { rows } = await tx.query<{ schema: string }>('select quote_ident(current_schema()) as schema');
  return rows[0]?.schema ?? 'public';
}

/** Nobody else analyzes temporary tables, and a plan made for an empty one is a bad one for a million rows. */
function analyzeAsTheyGrow(tx: Tx): (applied: number) => Promise<void> {
  let [applied, next] = [0, 1_000];
  return async (more) => {
    applied += more;
    if (applied < next) return;
    next = applied * 4;
    await tx.query(`analyze ${projections.map(({ table }) => `pg_temp.${table}`).join(', ')}`);
  };
}

async function readSize(tx: Tx): Promise<number> {
  const { rows } = await tx.query<{ size: number }>('select size from ledger_head');
  return rows[0]?.size ?? 0;
}

async function readBodies(tx: Tx, from: number, to: number): Promise<readonly StoredBody[]> {
  const { rows } = await tx.query<{
    index: number;
    leaf_hash: Buffer;
    bytes: Buffer | null;
    signature: Buffer | null;
  }>('select index, leaf_hash, bytes, signature from entries_with_bodies($1, $2) order by run, place', [from, to]);
  return rows.map(({ index, leaf_hash, bytes, signature }) => ({
    index,
    leafHash: leaf_hash,
    body: bytes === null || signature === null ? undefined : { bytes, signature },
  }));
}

/** The newest base and the digest of its rows. */
async function readBase(tx: Tx): Promise<StoredBase | undefined> {
  const { rows } = await tx.query<{ boundary: number | null }>(
    'select max(boundary) as boundary from projection_bases',
  );
  const boundary = rows[0]?.boundary ?? undefined;
  return boundary === undefined ? undefined : { boundary, digest: await digestBase(tx, boundary) };
}

interface BaseRow {
  readonly n: number;
  readonly relation: string;
  readonly content: string;
}

/** Hex SHA-256 over `relation TAB content LF` of the rows in order; neither contains those characters. */
export async function digestBase(tx: Tx, boundary: number): Promise<string> {
  const digest = createHash('sha256');
  for (let after = -1; ; ) {
    const { rows } = await tx.query<BaseRow>(
      'select n, relation, content from projection_bases where boundary = $1 and n > $2 order by n limit $3',
      [boundary, after, basePageRows],
    );
    const last = rows.at(-1);
    if (last === undefined) return digest.digest('hex');
    for (const { relation, content } of rows) digest.update(`${relation}\t${content}\n`);
    after = last.n;
  }
}

async function loadBase(tx: Tx, boundary: number): Promise<void> {
  for (const { table } of projections) {
    await tx.query(
      `insert into pg_temp.${table}
       select r.* from projection_bases b cross join lateral jsonb_populate_record(null::pg_temp.${table}, b.content::jsonb) r
        where b.boundary = $1 and b.relation = $2`,
      [boundary, table],
    );
  }
}

/** `s` stored, `r` rebuilt. Rows are compared as the bytes they are stored as, every column, whatever its type. */
function differs({ key }: Projection): string {
  const [first] = key;
  return `(s.${first} is null or r.${first} is null or s *<> r)`;
}

function bothSides(schema: string, { table, key }: Projection): string {
  return `${schema}.${table} s full join pg_temp.${table} r using (${key.join(', ')})`;
}

async function compareTable(tx: Tx, schema: string, projection: Projection): Promise<TableComparison> {
  const { table, key } = projection;
  const { rows } = await tx.query<{ stored: number; rebuilt: number; differing: number }>(
    `select count(s.${key[0]}) as stored, count(r.${key[0]}) as rebuilt,
            count(*) filter (where ${differs(projection)}) as differing
       from ${bothSides(schema, projection)}`,
  );
  const counts = rows[0] ?? { stored: 0, rebuilt: 0, differing: 0 };
  return { table, ...counts, rows: counts.differing === 0 ? [] : await readDifferences(tx, schema, projection) };
}

interface DifferingRow {
  readonly in_stored: boolean;
  readonly in_rebuilt: boolean;
  readonly stored: readonly (string | null)[];
  readonly rebuilt: readonly (string | null)[];
  readonly differs: readonly boolean[];
}

async function readDifferences(tx: Tx, schema: string, projection: Projection): Promise<readonly RowDifference[]> {
  const { table, key } = projection;
  const columns = await readColumns(tx, table);
  const each = (of: (column: string) => string) => `array[${columns.map((c) => of(`"${c}"`)).join(', ')}]`;
  const { rows } = await tx.query<DifferingRow>(
    `select s.${key[0]} is not null as in_stored, r.${key[0]} is not null as in_rebuilt,
            ${each((c) => `s.${c}::text`)} as stored, ${each((c) => `r.${c}::text`)} as rebuilt,
            ${each((c) => `row(s.${c})::record *<> row(r.${c})::record`)} as differs
       from ${bothSides(schema, projection)}
      where ${differs(projection)}
      order by ${key.join(', ')}
      limit $1`,
    [maxRowsShown],
  );
  return rows.map((row) => describeDifference(row, columns, projection));
}

/** All columns of the table, in order. */
async function readColumns(tx: Tx, table: string): Promise<readonly string[]> {
  const { rows } = await tx.query<{ name: string }>(
    `select attname as name from pg_attribute
      where attrelid = format('pg_temp.%I', $1::text)::regclass and attnum > 0 and not attisdropped
      order by attnum`,
    [table],
  );
  return rows.map(({ name }) => name);
}

function describeDifference(row: DifferingRow, columns: readonly string[], { key, source }: Projection): RowDifference {
  const value = (column: string | undefined, side: readonly (string | null)[]) =>
    column === undefined ? null : (side[columns.indexOf(column)] ?? null);
  // The rebuilt row is the right one; only of a row that should not be there the stored one has to do.
  const believed = row.in_rebuilt ? row.rebuilt : row.stored;
  const changed = columns.flatMap((column, at) =>
    row.in_stored && row.in_rebuilt && row.differs[at] === true
      ? [{ column, stored: row.stored[at] ?? null, rebuilt: row.rebuilt[at] ?? null }]
      : [],
  );
  const index = value(source(changed[0]?.column), believed);
  return {
    problem: !row.in_rebuilt ? 'extra' : row.in_stored ? 'changed' : 'missing',
    key: Object.fromEntries(key.map((column) => [column, value(column, believed)])),
    index: index === null ? null : Number(index),
    columns: changed,
  };
}

/** Only what differs is written. Deleted before inserted: at most one drift of a name may stand. */
async function replaceRows(tx: Tx, schema: string, { table, key }: Projection): Promise<void> {
  const same = key.map((column) => `s.${column} = r.${column}`).join(' and ');
  await tx.query(
    `delete from ${schema}.${table} s
      where not exists (select from pg_temp.${table} r where ${same} and s *= r)`,
  );
  await tx.query(
    `insert into ${schema}.${table}
     select r.* from pg_temp.${table} r where not exists (select from ${schema}.${table} s where ${same})`,
  );
}
