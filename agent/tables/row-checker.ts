import { isUtf8 } from 'node:buffer';
import { limits } from '../../common/limits.ts';
import type { FailedCheck, SigilChecker } from '../../common/sigil.ts';
import type { SigilRow } from '../../common/sigil-row.ts';
import type { TableLook } from './catalog-store.ts';
import type { TableRow } from './rows-store.ts';

/** What a row is called, and what is wrong with it. */
export interface CheckedRow {
  /** As JSON: to be read, and to find the row by. */
  readonly key: Buffer;
  readonly failures: readonly FailedCheck[];
  /** Null of a row that fails something. */
  readonly sound: SigilRow | null;
}

/** Checks rows of one table. */
export class RowChecker {
  private readonly names: readonly string[];
  private readonly checker: SigilChecker;

  constructor({ key }: Pick<TableLook, 'key'>, checker: SigilChecker) {
    this.names = key.map(({ name }) => name);
    this.checker = checker;
  }

  check(row: TableRow): CheckedRow {
    const key = Buffer.from(JSON.stringify(Object.fromEntries(this.names.map((name, nth) => [name, row.key[nth]]))));
    const sigil = sigilOf(row, key);
    if (!('record' in sigil)) return { key, failures: [sigil], sound: null };
    const failures = this.checker.checkRow(sigil);
    return { key, failures, sound: failures.length === 0 ? sigil : null };
  }

  /** The columns that {@link CheckedRow.key} is made of, or undefined when it is the key of something else. */
  columnsOf(key: Buffer): readonly string[] | undefined {
    if (!isUtf8(key)) return undefined;
    try {
      const parsed: unknown = JSON.parse(key.toString('utf8'));
      if (typeof parsed !== 'object' || parsed === null) return undefined;
      const found = new Map<string, unknown>(Object.entries(parsed));
      const columns = this.names.map((name) => found.get(name)).filter((value) => typeof value === 'string');
      return columns.length === this.names.length && found.size === columns.length ? columns : undefined;
    } catch {
      return undefined;
    }
  }
}

/** The row as a sigil, or why it cannot be checked as one. */
function sigilOf({ record, bytes, columns, updatedMs }: TableRow, key: Buffer): SigilRow | FailedCheck {
  if (columns === null) return tooLong('a column', limits.maxTableColumnBytes, null);
  if (record === null) return bytes === null ? noRecord : tooLong('the record', limits.maxTableRecordBytes, bytes);
  const { tenant, symbol = null, authHash = null, ...beside } = columns;
  return {
    ...{ key, tenant, symbol, authHash, beside },
    record: typeof record === 'string' ? Buffer.from(record) : record,
    updatedAt: timeOf(updatedMs),
  };
}

const noRecord: FailedCheck = {
  check: 'required_field',
  expected: 'record',
  actual: null,
  detail: 'the row has no record',
};

function tooLong(what: string, maxBytes: number, bytes: number | null): FailedCheck {
  const detail = `${what} is too long to be checked`;
  return {
    check: 'schema',
    expected: `at most ${maxBytes} bytes`,
    actual: bytes === null ? null : `${bytes} bytes`,
    detail,
  };
}

/** RFC 3339, or undefined for a time that has no such form. */
function timeOf(ms: number | null): string | undefined {
  return ms === null || Math.abs(ms) > 8_640_000_000_000_000 ? undefined : new Date(ms).toISOString();
}
