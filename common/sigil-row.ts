import {
  type FailedCheck,
  failed,
  isRecord,
  oversizeOf,
  parseJson,
  type RecordRules,
  recordFailures,
} from './sigil-checks.ts';
import { type SigilFacts, sigilFacts } from './sigil-inventory.ts';
import type { SigilKey } from './sigil-key.ts';
import { shownValue } from './sigil-text.ts';

/** A sigil as a row of a table: what a LevelDB store has in its key and its value stands in columns, and in a record. */
export interface SigilRow {
  /** What a person calls the row by. */
  readonly key: Buffer;
  /** Undefined where the table has no such column. */
  readonly tenant: string | null | undefined;
  readonly symbol: string | null;
  readonly authHash: string | null;
  readonly record: Buffer;
  /** What columns say of other members of the record; those that have no column are left out. */
  readonly beside: Readonly<Partial<Record<'id' | 'checksum' | 'signature', string | null>>>;
  /** RFC 3339, in place of a member that is not there; never compared, since databases set such columns themselves. */
  readonly updatedAt: string | undefined;
}

/**
 * Every check the row fails: those of its record, with the columns as its key, and that each column agrees with the member it stands
 * for. A member that the record leaves to a column is taken from there.
 */
export function rowFailures(row: SigilRow, rules: RecordRules): FailedCheck[] {
  const key = keyOf(row);
  const parsed = oversizeOf(row.record) === undefined ? parseJson(row.record.toString('utf8')) : undefined;
  const record = parsed !== undefined && isRecord(parsed.value) ? parsed.value : undefined;
  const value = record === undefined ? row.record : completed(row, record);
  const failures = [...emptyColumns(row), ...recordFailures(row.key, key, value, rules)];
  return record === undefined ? failures : [...failures, ...disagreements(row, record, rules)];
}

/** What an inventory keeps of a row that passes all checks: the record's own members, or else its columns. */
export function rowFacts({ record, beside, updatedAt }: SigilRow): SigilFacts {
  const facts = sigilFacts(record);
  return { id: facts.id || (beside.id ?? ''), updatedAt: facts.updatedAt || (updatedAt ?? '') };
}

function keyOf({ tenant, symbol, authHash }: SigilRow): SigilKey {
  if (symbol === null || authHash === null || tenant === null) return { kind: 'other' };
  return tenant === undefined ? { kind: 'row', symbol, authHash } : { kind: 'tenant', tenant, symbol, authHash };
}

function emptyColumns({ tenant, symbol, authHash }: SigilRow): FailedCheck[] {
  const empty = Object.entries({ tenant, symbol, authHash }).filter(([, value]) => value === null);
  if (empty.length === 0) return [];
  const names = empty.map(([name]) => name).join(', ');
  return [failed('required_field', names, null, `the row has no ${names}`)];
}

/** Put in front, as text: parsed and written anew, a name that stands twice would stand once. */
function completed(row: SigilRow, record: object): Buffer {
  const { tenant: tenantId, symbol, authHash, updatedAt } = row;
  const known = { tenantId, symbol, authHash, updatedAt, ...row.beside };
  const added = Object.entries(known).filter(
    ([name, value]) => typeof value === 'string' && !Object.hasOwn(record, name),
  );
  if (added.length === 0) return row.record;
  const members = JSON.stringify(Object.fromEntries(added)).slice(0, -1);
  const text = row.record.toString('utf8');
  const rest = text.slice(text.indexOf('{') + 1);
  return Buffer.from(`${members}${Object.keys(record).length === 0 ? '' : ','}${rest}`);
}

function disagreements(row: SigilRow, record: Readonly<Record<string, unknown>>, rules: RecordRules): FailedCheck[] {
  return Object.entries(row.beside).flatMap(([name, column]) => {
    const member = Object.hasOwn(record, name) ? record[name] : undefined;
    if (member === undefined || member === column || (member === null && column === null)) return [];
    const [expected, actual] = [column ?? null, member].map((value) => shownValue(value, rules.redact));
    const detail = `${name} of the record is not the one in its column`;
    return [failed('key_value_agreement', expected ?? null, actual ?? null, detail)];
  });
}
