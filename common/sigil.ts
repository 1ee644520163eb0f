import { isAscii, isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import { z } from 'zod';
import { AppError } from './errors.ts';
import { limits } from './limits.ts';
import { type FailedCheck, type RecordRules, recordChecks, recordFailures, type SigilRecord } from './sigil-checks.ts';
import { EventSecret } from './sigil-hmac.ts';
import { inventoryChecks } from './sigil-inventory.ts';
import { classifyKey, equalBytes, KeyLayout, plainMark, type SigilKeyKind, tenantMark } from './sigil-key.ts';
import { rowFailures, type SigilRow } from './sigil-row.ts';
import { RecordShape, type Span } from './sigil-shape.ts';

export type { FailedCheck, RecordCheck, SigilRecord } from './sigil-checks.ts';
export { recordChecks } from './sigil-checks.ts';
export { classifyKey, type SigilKey, type SigilKeyKind } from './sigil-key.ts';

/** Checks of the store's files, apart from what the records in them say; the last two are of PostgreSQL's tables and their indexes. */
export const fileChecks = [
  'block_checksum',
  'block_format',
  'table_format',
  'log_checksum',
  'log_format',
  'manifest',
  'file_missing',
  'file_unreadable',
  'heap_corrupt',
  'index_corrupt',
] as const;

export const sigilChecks = [...recordChecks, ...inventoryChecks, ...fileChecks] as const;
export type SigilCheck = (typeof sigilChecks)[number];

const foreign = z.string().max(limits.maxForeignTextChars);

/**
 * One failed check of one record or one place in a store file, as it travels in ledger entries. A record finding has a
 * `key`; a file finding has `file`, mostly an `offset` in bytes, and for a table block the `keyRange` its index gives.
 * `id` is stable over scans: the first 32 hex digits of SHA-256 over store, check, file or key, and offset.
 */
export const sigilFinding = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{32}$/),
  check: z.enum(sigilChecks),
  key: foreign.nullable(),
  keyRange: z.strictObject({ from: foreign, to: foreign }).nullable(),
  file: foreign.nullable(),
  offset: z.int().nonnegative().nullable(),
  expected: foreign.nullable(),
  actual: foreign.nullable(),
  detail: foreign,
});

export type SigilFinding = z.infer<typeof sigilFinding>;

export interface SigilCheckOptions {
  /** Event secrets in force, at most two (rotation). Without any, a signature is checked for presence and shape only. */
  readonly secrets: readonly string[];
  /** What a signature covers; `data` when absent. */
  readonly payloadOf?: (record: SigilRecord) => unknown;
}

/** A record where it is stored. */
export interface StoredRecord {
  /** Only the first `keyLength` bytes are the key. */
  readonly key: Uint8Array;
  readonly keyLength: number;
  /** Whatever holds the value, and the same with one character per byte (latin1). */
  readonly bytes: Buffer;
  readonly text: string;
  readonly valueStart: number;
  readonly valueEnd: number;
}

const noFailures: readonly FailedCheck[] = Object.freeze([]);
const exclamation = 0x21;
const colon = 0x3a;
const lowerN = 0x6e;
/** By byte, 1 for what stands in a JSON string as it is and divides no key: printable ASCII without quotes, backslashes and `!`. */
const isPlain = Uint8Array.from({ length: 256 }, (_, byte) => (/[ #-[\]-~]/.test(String.fromCharCode(byte)) ? 1 : 0));
/** Longer records are parsed: a pattern holds the event loop for as long as it takes, and has a stack that may not suffice. */
const maxShapedBytes = 256 * 1024;
/** Of so many shapes a store may mix records and be checked fast. */
const maxShapes = 16;
/** Once there are so many, a new one takes the place of the one used least recently only so often. */
const recordsPerNewShape = 1_000;

/**
 * Checks records of one store. Most records are made like one before and are exactly what `JSON.stringify` writes: those are found by
 * their shape and accepted by hashing the bytes of `data` as they stand. Whatever the fast way does not accept is parsed and judged
 * by {@link recordFailures}, so the fast way can cost time but never a verdict.
 *
 * An instance keeps scratch space: use one per scan, not from two at once.
 */
export class SigilChecker {
  private readonly rules: RecordRules;
  private readonly rawPayload: boolean;
  private readonly keyLayout = new KeyLayout();
  /** The one used last comes first. */
  private readonly shapes: RecordShape[] = [];
  private shapeless = 0;

  /** @throws AppError `validation.config` for more than two secrets or an empty one. */
  constructor(options: SigilCheckOptions) {
    const { secrets, payloadOf } = options;
    if (secrets.length > 2 || secrets.some((secret) => secret === '')) {
      throw new AppError('validation.config', 'a sigil store takes one or two event secrets, neither empty');
    }
    this.rawPayload = payloadOf === undefined;
    this.rules = {
      secrets: secrets.map((secret) => new EventSecret(secret)),
      payloadOf: payloadOf ?? ((record) => (Object.hasOwn(record, 'data') ? record.data : undefined)),
      redact: (text) => secrets.reduce((rest, secret) => rest.replaceAll(secret, '[secret]'), text),
    };
  }

  /** `other` keys are not sigils and have nothing to check. */
  kindOf(key: Uint8Array): SigilKeyKind {
    return this.keyLayout.scan(key);
  }

  /** The checks `value` under `key` fails; none for a key that is not a sigil's. Never throws. */
  check(key: Buffer, value: Buffer): readonly FailedCheck[] {
    if (this.keyLayout.scan(key) === 'other') return noFailures;
    const place = { key, keyLength: key.length, valueStart: 0, valueEnd: value.length };
    if (this.isSound({ ...place, bytes: value, text: value.toString('latin1') })) return noFailures;
    const failures = recordFailures(key, classifyKey(key), value, this.rules);
    if (failures.length === 0 && this.rawPayload) this.learn(value);
    return failures;
  }

  /** The fast way: true for a sigil that passes every check; otherwise only {@link check} can tell. Never throws. */
  isSound(record: StoredRecord): boolean {
    const { valueStart, valueEnd } = record;
    if (valueEnd - valueStart > maxShapedBytes) return false;
    // Made when it is asked for.
    const { text } = record;
    for (let nth = 0; nth < this.shapes.length; nth++) {
      const shape = this.shapes[nth];
      if (shape?.find(text, valueStart, valueEnd)) {
        if (nth > 0) this.shapes.unshift(...this.shapes.splice(nth, 1));
        return (
          (shape.isTenant ? isOfTenant(record, shape) : hasPlainId(record, shape)) && this.digestsAgree(record, shape)
        );
      }
    }
    return false;
  }

  /** The checks that a row of a table fails. Never throws. */
  checkRow(row: SigilRow): readonly FailedCheck[] {
    return rowFailures(row, this.rules);
  }

  /** Of the record that {@link isSound} has just been true for: its spans say where the fields stand. */
  get soundShape(): RecordShape | null {
    return this.shapes[0] ?? null;
  }

  private learn(value: Buffer): void {
    this.shapeless++;
    if (this.shapes.length >= maxShapes && this.shapeless % recordsPerNewShape !== 0) return;
    const shape = RecordShape.of(JSON.parse(value.toString('utf8')), isAscii(value));
    if (shape === null) return;
    this.shapes.unshift(shape);
    this.shapes.splice(maxShapes);
  }

  private digestsAgree(record: StoredRecord, { data, checksum, signature, isAscii }: RecordShape): boolean {
    const { bytes, text, valueStart, valueEnd } = record;
    // Null data is hashed as {}, which its bytes are not.
    if (bytes[data.start] === lowerN) return false;
    if (!isAscii && !isUtf8(bytes.subarray(valueStart, valueEnd))) return false;
    if (checksum !== null) {
      // A piece of text costs less than a view, and is the same bytes as long as all of them are ASCII.
      const hashed = isAscii ? text.slice(data.start, data.end) : bytes.subarray(data.start, data.end);
      if (text.slice(checksum.start + 1, checksum.end - 1) !== hash('sha256', hashed, 'hex')) return false;
    }
    const { secrets } = this.rules;
    if (secrets.length === 0) return isHex(bytes, signature.start + 1, signature.end - 1);
    return secrets.some((secret) => secret.signed(bytes, data.start, data.end, bytes, signature.start + 1));
  }
}

/** Whether the key is `<tenantId>!sigil!<symbol>!<authHash>`: the tenant ends at its first `!`, the hash begins behind its last one. */
function isOfTenant(record: StoredRecord, { tenantId, symbol, authHash }: RecordShape): boolean {
  const { key, keyLength } = record;
  const symbolAt = tenantId.end - tenantId.start - 2 + 1 + tenantMark.length;
  const hashAt = symbolAt + (symbol.end - symbol.start - 2) + 1;
  return (
    keyLength === hashAt + (authHash.end - authHash.start - 2) &&
    key[hashAt - 1] === exclamation &&
    key[symbolAt - tenantMark.length - 1] === exclamation &&
    says(record, authHash, hashAt) &&
    says(record, symbol, symbolAt) &&
    says(record, tenantId, 0) &&
    equalBytes(tenantMark, key, symbolAt - tenantMark.length) &&
    !equalBytes(plainMark, key, 0)
  );
}

/** Whether the key is `sigil:<id>` or `sigil:<namespace>:<id>`. */
function hasPlainId(record: StoredRecord, { id }: RecordShape): boolean {
  const { key, keyLength } = record;
  if (!equalBytes(plainMark, key, 0)) return false;
  const split = key.indexOf(colon, plainMark.length);
  const isNamespaced = split > plainMark.length && split < keyLength - 1;
  const idAt = isNamespaced ? split + 1 : plainMark.length;
  const isId = keyLength - idAt === id.end - id.start - 2 && says(record, id, idAt);
  return isId && isUtf8(key.subarray(plainMark.length, idAt));
}

/** Whether the string there is what the key says from `keyAt` on, and plain. */
function says({ key, bytes }: StoredRecord, { start, end }: Span, keyAt: number): boolean {
  const valueEnd = end - 1;
  for (let at = start + 1, other = keyAt; at < valueEnd; at++, other++) {
    const byte = bytes[at] ?? 0;
    if (byte !== key[other] || isPlain[byte] !== 1) return false;
  }
  return true;
}

/** Whether all of it is lower-case hex. */
function isHex(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    const byte = bytes[at] ?? 0;
    if (!((byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66))) return false;
  }
  return true;
}

/** {@link SigilChecker.check} for a single record. */
export function checkRecord(key: Buffer, value: Buffer, options: SigilCheckOptions): readonly FailedCheck[] {
  return new SigilChecker(options).check(key, value);
}
