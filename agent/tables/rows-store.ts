import { limits } from '../../common/limits.ts';
import type { TableColumn, TableLook } from './catalog-store.ts';
import { quoted, type TableConnection } from './connection.ts';
import type { TablePlace } from './table-settings.ts';

type Column = keyof TablePlace['columns'];

/** One row, as much of it as is fetched. */
export interface TableRow {
  /** Text of each column of the key, in its order. */
  readonly key: readonly string[];
  /** Where to go on behind it: in front of the key, the column that pages are ordered by before it, if there is one. */
  readonly at: readonly string[];
  /** Null for a record that is null, or longer than `limits.maxTableRecordBytes`. */
  readonly record: string | Buffer | null;
  /** Of the record; null when it is null. */
  readonly bytes: number | null;
  /** Text of the other columns; null when one is longer than `limits.maxTableColumnBytes`. */
  readonly columns: Readonly<Partial<Record<Column, string | null>>> | null;
  /** Unix milliseconds; null without such a column, and when it is null. */
  readonly updatedMs: number | null;
}

const leastPageRows = 8;

/** How `updatedAt` counts. */
export type UpdatedKind = 'instant' | 'local' | 'unix_ms';

const updatedKinds: Readonly<Record<string, UpdatedKind>> = {
  'timestamp with time zone': 'instant',
  'timestamp without time zone': 'local',
  bigint: 'unix_ms',
};

const recordTypes = ['json', 'jsonb', 'text', 'character varying', 'bpchar', 'bytea'];

/** Undefined when there is no such column; null when nothing can be made of its type. */
export function updatedKindOf({ columns }: TablePlace, look: TableLook): UpdatedKind | null | undefined {
  if (columns.updatedAt === undefined) return undefined;
  return updatedKinds[look.columns.get(columns.updatedAt)?.type ?? ''] ?? null;
}

export function isRecordColumn({ columns }: TablePlace, look: TableLook): boolean {
  return recordTypes.includes(look.columns.get(columns.record)?.type ?? '');
}

/** Which rows. */
export type RowsOf =
  /** All, by their key. */
  | { readonly kind: 'all' }
  /** Those with an `updatedAt` from then on, by that and their key. */
  | { readonly kind: 'since'; readonly ms: number }
  /** Those with these keys. */
  | { readonly kind: 'keys'; readonly keys: readonly (readonly string[])[] }
  /** Those in one block of one part, whatever the indexes say. */
  | { readonly kind: 'block'; readonly part: string; readonly block: number };

/**
 * Reads rows of one table. A page is one statement, and so one snapshot: a transaction over all of them would keep the server from
 * vacuuming for as long. It ends with the row whose record fills it, so it may be shorter than is asked for; only an empty
 * one is the last.
 */
export class TableRows {
  private readonly connection: TableConnection;
  private readonly place: TablePlace;
  private readonly look: TableLook;
  private readonly others: readonly [Column, TableColumn][];
  private readonly updated: UpdatedKind | undefined;
  /** The server measures every record it might give: no more of them than there was room for before, twice over. */
  private limit = 8 * leastPageRows;

  constructor(connection: TableConnection, place: TablePlace, look: TableLook) {
    this.connection = connection;
    this.place = place;
    this.look = look;
    this.updated = updatedKindOf(place, look) ?? undefined;
    const names: readonly Column[] = ['id', 'tenant', 'symbol', 'authHash', 'checksum', 'signature'];
    this.others = names.flatMap((name): [Column, TableColumn][] => {
      const column = look.columns.get(place.columns[name] ?? '');
      return column === undefined ? [] : [[name, column]];
    });
  }

  /**
   * Page by page; of one that has been looked at, nothing is kept while the next is on its way.
   * @throws AppError as {@link page}, and what `pageDone` throws
   */
  async *all(of: RowsOf, pageDone: () => Promise<void>): AsyncGenerator<TableRow> {
    let after: readonly string[] | undefined;
    for (let more = true; more; ) {
      const page = await this.page(of, after);
      yield* page;
      after = page.at(-1)?.at;
      more = after !== undefined;
      await pageDone();
    }
  }

  /**
   * @param after where to go on from, {@link TableRow.at} of the last row before; undefined for the beginning
   * @throws AppError `store.unreadable`, with the server's code for damage ({@link isCorruption})
   */
  async page(of: RowsOf, after: readonly string[] | undefined): Promise<readonly TableRow[]> {
    const values: unknown[] = [];
    const sql = this.sqlOf(of, after, (value) => `$${values.push(value)}`);
    const rows = await this.connection.query<FetchedRow>(sql, values);
    if (rows.length > 0) this.limit = Math.min(Math.max(2 * rows.length, leastPageRows), limits.tablePageRows);
    return rows.map(({ key, at, record, bytes, columns, updatedMs }) => {
      const named = columns && Object.fromEntries(this.others.map(([name], nth) => [name, columns[nth] ?? null]));
      return { key, at, record, bytes, columns: named, updatedMs };
    });
  }

  private sqlOf(of: RowsOf, after: readonly string[] | undefined, value: Value): string {
    const key = this.look.key.map(sortOf);
    const order = this.orderOf(of);
    const sorted = order.map(({ sql }) => sql).join(', ');
    const others = this.others.map(([, { name }]) => `t.${quoted(name)}::text`);
    const lengths = others.map((text) => `coalesce(octet_length(${text}), 0)`);
    const behind = after === undefined ? 'true' : `(${sorted}) > ${tuple(order, after, value)}`;
    return `select key, at, bytes, "updatedMs", columns,
      case when bytes <= ${limits.maxTableRecordBytes} then ${this.record()} end as record from (
      select p.*, sum(weight) over (order by nth rows unbounded preceding) - weight as before from (
        select row_number() over (order by ${sorted}) as nth,
          array[${key.map(({ sql }) => `${sql}::text`).join(', ')}] as key,
          array[${order.map(({ sql }) => `${sql}::text`).join(', ')}] as at,
          s.bytes::float8 as bytes, ${this.updatedMs()} as "updatedMs",
          case when greatest(${lengths.join(', ')}) <= ${limits.maxTableColumnBytes} then array[${others.join(', ')}] end as columns,
          t.${quoted(this.place.columns.record)} as record,
          (case when s.bytes <= ${limits.maxTableRecordBytes} then s.bytes else 0 end)::float8
            + ${key.map(({ sql }) => `octet_length(${sql}::text)`).join(' + ')} as weight
        from ${of.kind === 'block' ? of.part : this.look.sqlName} t, lateral (select ${this.recordBytes()} as bytes) s
        where ${this.where(of, key, value)} and ${behind} order by ${sorted} limit ${this.limit}) p) q
      where before < ${limits.tablePageBytes} order by nth`;
  }

  private orderOf(of: RowsOf): readonly Sort[] {
    if (of.kind === 'block') return [{ sql: 't.ctid', type: 'tid' }];
    const updated = this.look.columns.get(this.place.columns.updatedAt ?? '');
    const leading = of.kind === 'since' && updated !== undefined ? [updated] : [];
    return [...leading, ...this.look.key].map(sortOf);
  }

  private where(of: RowsOf, key: readonly Sort[], value: Value): string {
    switch (of.kind) {
      case 'all':
        return 'true';
      case 'since':
        return this.since(value(of.ms));
      case 'keys':
        return `(${key.map(({ sql }) => sql).join(', ')}) in (${of.keys.map((texts) => tuple(key, texts, value)).join(', ')})`;
      case 'block':
        return `t.ctid >= '(${of.block},0)' and t.ctid < '(${of.block + 1},0)'`;
    }
  }

  /** As bytes where it is stored so, else as text; of rows that are left out, nothing is written out. */
  private record(): string {
    const { type } = this.recordColumn();
    return type === 'bytea' ? 'record' : 'record::text';
  }

  /** Told without unpacking the record, but for `jsonb`, which has to be written out. */
  private recordBytes(): string {
    const { name, type } = this.recordColumn();
    const column = `t.${quoted(name)}`;
    if (type === 'bytea') return `octet_length(${column})`;
    if (type !== 'jsonb') return `octet_length(${column}::text)`;
    const stored = `pg_column_size(${column})`;
    return `case when ${stored} > ${limits.maxTableRecordBytes} then ${stored} else octet_length(${column}::text) end`;
  }

  private recordColumn(): { name: string; type: string } {
    const name = this.place.columns.record;
    return { name, type: this.look.columns.get(name)?.type ?? '' };
  }

  private updatedMs(): string {
    const column = `t.${quoted(this.place.columns.updatedAt ?? '')}`;
    switch (this.updated) {
      case undefined:
        return 'null::float8';
      case 'unix_ms':
        return `${column}::float8`;
      default:
        return `(extract(epoch from ${column}) * 1000)::float8`;
    }
  }

  private since(ms: string): string {
    const column = `t.${quoted(this.place.columns.updatedAt ?? '')}`;
    switch (this.updated) {
      case undefined:
        return 'true';
      case 'unix_ms':
        return `${column} >= ${ms}::float8::bigint`;
      case 'instant':
        return `${column} >= to_timestamp(${ms}::float8 / 1000)`;
      case 'local':
        return `${column} >= to_timestamp(${ms}::float8 / 1000) at time zone 'UTC'`;
    }
  }
}

/** Adds a value to a statement; its place in it. */
type Value = (value: unknown) => string;

/** What rows are sorted by. */
interface Sort {
  readonly sql: string;
  readonly type: string;
}

function sortOf({ name, type }: TableColumn): Sort {
  return { sql: `t.${quoted(name)}`, type };
}

function tuple(columns: readonly Sort[], texts: readonly string[], value: Value): string {
  return `(${columns.map(({ type }, nth) => `${value(texts[nth])}::text::${type}`).join(', ')})`;
}

interface FetchedRow {
  key: string[];
  at: string[];
  record: string | Buffer | null;
  bytes: number | null;
  columns: (string | null)[] | null;
  updatedMs: number | null;
}
