import { AppError } from '../../common/errors.ts';
import type { TableConnection } from './connection.ts';
import type { TablePlace } from './table-settings.ts';

export interface TableColumn {
  readonly name: string;
  /** As a cast takes it, without a length: one that is made to `character` cuts all but the first. */
  readonly type: string;
  /** Made by PostgreSQL itself, or an enumeration: sorts the same wherever names are looked for. */
  readonly isPlain: boolean;
  readonly notNull: boolean;
}

/** A table that can be read from beginning to end, by the columns of a unique index. */
export interface TableLook {
  readonly oid: string;
  /** `schema.name`, as SQL takes it. */
  readonly sqlName: string;
  readonly columns: ReadonlyMap<string, TableColumn>;
  readonly key: readonly TableColumn[];
  /** Where its rows are: itself, or its partitions. */
  readonly parts: readonly TablePart[];
  readonly blockBytes: number;
  /** As of the last `analyze`; null before the first. */
  readonly estimatedRows: number | null;
  /** Milliseconds, by the server's clock. */
  readonly nowMs: number;
}

export interface TablePart {
  readonly oid: string;
  readonly sqlName: string;
  readonly bytes: number;
}

interface Found {
  readonly sqlName: string;
  readonly oid: string;
  readonly kind: string;
  readonly version: number;
  readonly blockBytes: number;
  readonly estimatedRows: number;
  readonly inherited: boolean;
  readonly nowMs: number;
}

const oldestServer = { versionNum: 140_000, name: '14' };

/**
 * Finds the table, and a way through it.
 * @throws AppError `store.missing`, `store.not_a_store` (no table, no unique key, a column of another type), `validation.config`
 *   for a column that is not there, `store.unreadable`
 */
export async function lookAtTable(connection: TableConnection, place: TablePlace): Promise<TableLook> {
  const [schema = '', name = ''] = place.table.split('.');
  const found = await findTable(connection, schema, name);
  if (found === undefined) {
    throw new AppError('store.missing', `there is no table ${place.table} in ${connection.database}`);
  }
  requireTable(found, place.table);
  const columns = await columnsOf(connection, found.oid);
  for (const [member, column] of Object.entries(place.columns)) {
    if (column === undefined || columns.has(column)) continue;
    const there = [...columns.keys()].join(', ');
    throw new AppError(
      'validation.config',
      `table ${place.table} has no column ${column} (columns.${member}): ${there}`,
    );
  }
  const keys = await uniqueKeys(connection, found.oid);
  const { oid, sqlName, blockBytes, estimatedRows, nowMs } = found;
  return {
    oid,
    sqlName,
    columns,
    key: keyOf(place.table, keys, columns),
    parts: await partsOf(connection, oid),
    blockBytes,
    estimatedRows: estimatedRows < 0 ? null : estimatedRows,
    nowMs,
  };
}

function requireTable({ kind, version, inherited }: Found, table: string): void {
  if (version < oldestServer.versionNum) {
    const runs = Math.floor(version / 10_000);
    throw new AppError('store.unreadable', `PostgreSQL ${oldestServer.name} or later is needed, not ${runs}`);
  }
  if (kind !== 'r' && kind !== 'p') throw new AppError('store.not_a_store', `${table} is not a table`);
  if (kind === 'r' && inherited) {
    throw new AppError(
      'store.not_a_store',
      `other tables inherit from ${table}, so its key names no row: name them each`,
    );
  }
}

function keyOf(
  table: string,
  keys: readonly (readonly string[])[],
  columns: ReadonlyMap<string, TableColumn>,
): readonly TableColumn[] {
  for (const names of keys) {
    const key = names.flatMap((name) => columns.get(name) ?? []);
    if (key.every(({ notNull, isPlain }) => notNull && isPlain)) return key;
  }
  throw new AppError(
    'store.not_a_store',
    `table ${table} has neither a primary key nor a unique index over columns that are not null and of PostgreSQL's own types, so it cannot be read page by page`,
  );
}

async function findTable(connection: TableConnection, schema: string, name: string): Promise<Found | undefined> {
  const [found] = await connection.query<Found>(
    `select c.oid::text as oid, format('%I.%I', n.nspname, c.relname) as "sqlName", c.relkind::text as kind, current_setting('server_version_num')::int as version,
       current_setting('block_size')::int as "blockBytes", c.reltuples::float8 as "estimatedRows",
       exists (select from pg_inherits i where i.inhparent = c.oid) as inherited,
       (extract(epoch from clock_timestamp()) * 1000)::float8 as "nowMs"
     from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2`,
    [schema, name],
  );
  return found;
}

async function columnsOf(connection: TableConnection, oid: string): Promise<ReadonlyMap<string, TableColumn>> {
  const rows = await connection.query<{ name: string; type: string; isPlain: boolean; notNull: boolean }>(
    `select a.attname::text as name, format_type(a.atttypid, -1) as type, a.attnotnull as "notNull",
       n.nspname = 'pg_catalog' or t.typtype = 'e' as "isPlain"
     from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_namespace n on n.oid = t.typnamespace
     where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped order by a.attnum`,
    [oid],
  );
  return new Map(rows.map((column) => [column.name, column]));
}

/** Columns of each unique index that names every row, the primary key first. */
async function uniqueKeys(connection: TableConnection, oid: string): Promise<readonly (readonly string[])[]> {
  const rows = await connection.query<{ columns: string[] }>(
    `select array(select a.attname::text from unnest(i.indkey) with ordinality as k(attnum, nth)
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
         where k.nth <= i.indnkeyatts order by k.nth) as columns
     from pg_index i join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam
     where i.indrelid = $1::oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
       and m.amname = 'btree'
     order by i.indisprimary desc, x.relname`,
    [oid],
  );
  return rows.map(({ columns }) => columns);
}

async function partsOf(connection: TableConnection, oid: string): Promise<readonly TablePart[]> {
  return connection.query<{ oid: string; sqlName: string; bytes: number }>(
    `select c.oid::text as oid, format('%I.%I', n.nspname, c.relname) as "sqlName",
       coalesce(pg_relation_size(c.oid), 0)::float8 as bytes
     from (select $1::oid as oid union select relid::oid from pg_partition_tree($1::oid::regclass) where isleaf) p
       join pg_class c on c.oid = p.oid join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' order by c.oid`,
    [oid],
  );
}

interface RoleRights {
  readonly role: string;
  readonly own: boolean;
  readonly superuser: boolean;
  readonly owner: boolean;
  readonly files: boolean;
  readonly rights: string[];
}

/**
 * Watching does no harm: makes sure that whoever takes over this agent could not write into the table, by its own rights or by those
 * of any role that it may become.
 * @throws AppError `validation.config` naming what to take away
 */
export async function requireReadOnly(connection: TableConnection, place: TablePlace, oid: string): Promise<void> {
  const roles = await connection.query<RoleRights & { self: string }>(
    `select session_user::text as self, r.rolname::text as role, r.rolname = session_user as own, r.rolsuper as superuser,
       bool_or(r.oid = c.relowner) as owner,
       r.rolname in ('pg_write_server_files', 'pg_execute_server_program') as files,
       array_remove(array_agg(distinct case
         when p in ('INSERT', 'UPDATE') then case when has_any_column_privilege(r.oid, c.oid, p) then p end
         when has_table_privilege(r.oid, c.oid, p) then p end), null) as rights
     from pg_roles r, pg_class c, unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) p
     where pg_has_role(session_user, r.oid, 'MEMBER')
       and c.oid in (select $1::oid union select relid::oid from pg_partition_tree($1::oid::regclass))
     group by r.oid, r.rolname, r.rolsuper
     order by r.rolname = session_user and r.rolsuper desc, own, r.rolname`,
    [oid],
  );
  for (const { self, ...role } of roles) {
    const why = writes(role, self, place.table);
    if (why === undefined) continue;
    throw new AppError('validation.config', `the role ${self} must only be able to read ${place.table}, but ${why}`);
  }
}

function writes({ role, own, superuser, owner, files, rights }: RoleRights, self: string, table: string) {
  const whose = own ? 'it' : `it is a member of ${role}, which`;
  const leave = own ? 'take another role' : `revoke ${role} from ${self}`;
  if (superuser) return `${whose} is a superuser: ${leave}`;
  if (owner) return `${whose} owns the table: ${leave}`;
  if (files) return `${whose} can write the server's files: ${leave}`;
  if (rights.length === 0) return undefined;
  const listed = rights.join(', ').toLowerCase();
  const take = `revoke ${listed} on ${table} from ${role}, or from public`;
  return `${whose} may ${listed}: ${own ? take : `${leave}, or ${take}`}`;
}
