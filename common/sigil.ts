import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import { z } from 'zod';
import { AppError } from './errors.ts';
import { limits } from './limits.ts';
import { type FailedCheck, type RecordRules, recordChecks, recordFailures, type SigilRecord } from './sigil-checks.ts';
import { EventSecret } from './sigil-hmac.ts';
import { classifyKey, KeyLayout, type SigilKeyKind } from './sigil-key.ts';
import { field, RecordLayout } from './sigil-layout.ts';

export type { FailedCheck, RecordCheck, SigilRecord } from './sigil-checks.ts';
export { recordChecks } from './sigil-checks.ts';
export { classifyKey, type SigilKey, type SigilKeyKind } from './sigil-key.ts';

/** Checks of the store's files, apart from what the records in them say. */
export const fileChecks = [
  'block_checksum',
  'block_format',
  'table_format',
  'log_checksum',
  'log_format',
  'manifest',
  'file_missing',
  'file_unreadable',
] as const;

export const sigilChecks = [...recordChecks, ...fileChecks] as const;

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

const noFailures: readonly FailedCheck[] = Object.freeze([]);
const emptyData = Buffer.from('{}');
const hexChars = 64;
const quote = 0x22;
const backslash = 0x5c;
const lowerN = 0x6e;

/**
 * Checks records of one store. Most records are exactly what `JSON.stringify` writes and are in order: those are
 * accepted by hashing the bytes of `data` as they stand. Whatever the fast way does not accept is parsed and judged by
 * {@link recordFailures}, so the fast way can cost time but never a verdict.
 *
 * An instance keeps scratch space: use one per scan, not from two at once.
 */
export class SigilChecker {
  private readonly rules: RecordRules;
  private readonly rawPayload: boolean;
  private readonly keyLayout = new KeyLayout();
  private readonly layout = new RecordLayout();

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
    if (this.keyLayout.scan(key) === 'other' || this.accepts(key, value)) return noFailures;
    return recordFailures(key, classifyKey(key), value, this.rules);
  }

  private accepts(key: Buffer, value: Buffer): boolean {
    const { layout } = this;
    if (!this.rawPayload || !layout.scan(value) || !layout.canonical || layout.repeated) return false;
    return isUtf8(key) && isUtf8(value) && this.fieldsAgree(key, value) && this.digestsAgree(value);
  }

  private fieldsAgree(key: Buffer, value: Buffer): boolean {
    const { keyLayout: at } = this;
    switch (at.kind) {
      case 'tenant':
        return (
          this.hasText(value, field.id) &&
          (this.hasText(value, field.updatedAt) || this.hasNumber(value, field.updatedAt)) &&
          this.saysPart(value, field.tenantId, key, at.firstStart, at.firstEnd) &&
          this.saysPart(value, field.symbol, key, at.secondStart, at.secondEnd) &&
          this.saysPart(value, field.authHash, key, at.thirdStart, at.thirdEnd)
        );
      case 'namespaced':
      case 'plain':
        // `namespace` and the tenant members are rare here, so the parser looks at them.
        return !this.hasRareFields() && this.saysPart(value, field.id, key, at.secondStart, at.secondEnd);
      case 'other':
        return false;
    }
  }

  private hasRareFields(): boolean {
    const { layout } = this;
    return [field.namespace, field.tenantId, field.symbol, field.authHash, field.updatedAt].some(
      (index) => layout.start(index) >= 0,
    );
  }

  private hasText(value: Buffer, index: number): boolean {
    const start = this.layout.start(index);
    return start >= 0 && value[start] === quote && this.layout.end(index) - start > 2;
  }

  private hasNumber(value: Buffer, index: number): boolean {
    const first = value[this.layout.start(index)] ?? 0;
    return first >= 0x2d && first <= 0x39;
  }

  /** Whether the member is the string `key[from, to)`. One with a backslash means something else than its bytes. */
  private saysPart(value: Buffer, index: number, key: Buffer, from: number, to: number): boolean {
    const start = this.layout.start(index);
    if (start < 0 || value[start] !== quote || this.layout.end(index) - start - 2 !== to - from) return false;
    for (let at = from, other = start + 1; at < to; at++, other++) {
      if (key[at] !== value[other] || key[at] === backslash) return false;
    }
    return true;
  }

  private digestsAgree(value: Buffer): boolean {
    const { layout } = this;
    const dataStart = layout.start(field.data);
    // Null data is hashed as {}, which its bytes are not.
    if (value[dataStart] === lowerN) return false;
    const data = dataStart < 0 ? emptyData : value;
    const from = Math.max(dataStart, 0);
    const to = dataStart < 0 ? emptyData.length : layout.end(field.data);
    return this.checksumAgrees(data, from, to) && this.signatureAgrees(value, data, from, to);
  }

  private checksumAgrees(data: Buffer, from: number, to: number): boolean {
    if (this.layout.start(field.checksum) < 0) return true;
    return this.layout.says(field.checksum, hash('sha256', data.subarray(from, to), 'hex'));
  }

  private signatureAgrees(value: Buffer, data: Buffer, from: number, to: number): boolean {
    const start = this.layout.start(field.signature);
    if (start < 0 || value[start] !== quote || this.layout.end(field.signature) - start !== hexChars + 2) return false;
    const { secrets } = this.rules;
    if (secrets.length === 0) return hasHexShape(value, start + 1);
    return secrets.some((secret) => secret.signed(data, from, to, value, start + 1));
  }
}

/** {@link SigilChecker.check} for a single record. */
export function checkRecord(key: Buffer, value: Buffer, options: SigilCheckOptions): readonly FailedCheck[] {
  return new SigilChecker(options).check(key, value);
}

function hasHexShape(bytes: Uint8Array, from: number): boolean {
  for (let at = from; at < from + hexChars; at++) {
    const byte = bytes[at] ?? 0;
    if (!((byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66))) return false;
  }
  return true;
}
