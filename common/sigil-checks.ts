import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { limits } from './limits.ts';
import type { EventSecret } from './sigil-hmac.ts';
import type { SigilKey } from './sigil-key.ts';
import { shownValue } from './sigil-text.ts';

/** Checks of one record. `encoding`: the bytes are UTF-8; `schema`: members have their types and no name occurs twice. */
export const recordChecks = [
  'encoding',
  'json',
  'schema',
  'required_field',
  'key_value_agreement',
  'tenant_isolation',
  'checksum',
  'signature',
] as const;

export type RecordCheck = (typeof recordChecks)[number];

/** One check a record failed. `expected` and `actual` are printable and cut; neither ever holds a secret. */
export interface FailedCheck {
  readonly check: RecordCheck;
  readonly expected: string | null;
  readonly actual: string | null;
  readonly detail: string;
}

export type SigilRecord = Readonly<Record<string, unknown>>;

export interface RecordRules {
  /** Secrets a signature may be made with; none: only presence and shape of the signature are checked. */
  readonly secrets: readonly EventSecret[];
  /** What the signature covers. */
  readonly payloadOf: (record: SigilRecord) => unknown;
  /** Takes secrets out of text that is about to be shown. */
  readonly redact: (text: string) => string;
}

const commonFields = ['id', 'signature'];
const rowFields = [...commonFields, 'symbol', 'authHash', 'updatedAt'];
const tenantFields = [...commonFields, 'tenantId', 'symbol', 'authHash', 'updatedAt'];
const stringFields = ['id', 'signature', 'checksum', 'tenantId', 'symbol', 'authHash'];
const hex64 = /^[0-9a-f]{64}$/i;

/**
 * Every check the record fails, by the letter: parse, then compare. This is the authority; the checker's fast way may
 * only agree with it.
 */
export function recordFailures(keyBytes: Buffer, key: SigilKey, value: Buffer, rules: RecordRules): FailedCheck[] {
  const failures: FailedCheck[] = [];
  if (!isUtf8(keyBytes)) failures.push(failed('encoding', 'UTF-8', null, 'the key is not UTF-8'));
  const oversize = oversizeOf(value);
  if (oversize !== undefined) return [...failures, oversize];
  if (!isUtf8(value)) {
    return [...failures, failed('encoding', 'UTF-8', null, `byte ${firstBadByte(value)} of the value is not UTF-8`)];
  }
  const text = value.toString('utf8');
  const parsed = parseJson(text);
  if (parsed === undefined) return [...failures, failed('json', null, null, 'the value is not JSON')];
  if (!isRecord(parsed.value)) {
    const actual = shownValue(parsed.value, rules.redact);
    return [...failures, failed('schema', 'an object', actual, 'the value is not a JSON object')];
  }
  const record = parsed.value;
  return [
    ...failures,
    ...repeatedMembers(text, record),
    ...missingFields(key, record),
    ...wrongTypes(record, rules),
    ...disagreements(key, record, rules),
    ...digestFailures(record, rules),
  ];
}

/** A failed check; `expected` and `actual` have been through {@link shownValue}. */
export function failed(
  check: RecordCheck,
  expected: string | null,
  actual: string | null,
  detail: string,
): FailedCheck {
  return { check, expected, actual, detail };
}

/** The first byte that decoding replaced; a U+FFFD that the writer itself wrote is not it. */
function firstBadByte(value: Buffer): number {
  let at = 0;
  for (const character of value.toString('utf8')) {
    const size = Buffer.byteLength(character);
    if (character === '\ufffd' && value.toString('hex', at, at + size) !== 'efbfbd') return at;
    at += size;
  }
  return at;
}

/** Why the value is not even parsed; undefined for any that a fast way may accept, and for most others. */
export function oversizeOf(value: Buffer): FailedCheck | undefined {
  const { sigilMaxRecordBytes, sigilMaxRecordValues } = limits;
  if (value.length > sigilMaxRecordBytes) {
    const [expected, actual] = [`at most ${sigilMaxRecordBytes} bytes`, `${value.length} bytes`];
    return failed('json', expected, actual, 'the value is too long to be checked');
  }
  // No value takes less than a byte, and a comma or bracket of its own.
  if (value.length < 2 * sigilMaxRecordValues || valuesIn(value) <= sigilMaxRecordValues) return undefined;
  return failed('json', `at most ${sigilMaxRecordValues} values`, null, 'the value holds too much to be checked');
}

/** How many values JSON holds, at the most: each but the first stands behind a comma or bracket of its own. */
function valuesIn(json: Buffer): number {
  let count = 1;
  let isText = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === 0x22) isText = !isText;
    else if (isText && byte === 0x5c) at++;
    else if (!isText && (byte === 0x2c || byte === 0x5b || byte === 0x7b)) count++;
  }
  return count;
}

export function parseJson(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

export function isRecord(value: unknown): value is SigilRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A member by its own name only: a record cannot borrow one through `__proto__`. */
function own(record: SigilRecord, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** Two members of one name: readers differ in which one they see, so a checksum would vouch for only one of them. */
function repeatedMembers(text: string, record: SigilRecord): FailedCheck[] {
  if (writtenMembers(text) === countMembers(record)) return [];
  return [failed('schema', null, null, 'a member name occurs twice in one object')];
}

/** In JSON, a colon outside of strings stands in every member and nowhere else. */
function writtenMembers(json: string): number {
  let count = 0;
  for (let at = 0; at < json.length; at++) {
    if (json[at] === ':') count++;
    else if (json[at] === '"') at = stringEnd(json, at);
  }
  return count;
}

/** Where the quote is that ends the string beginning at `from`. */
function stringEnd(json: string, from: number): number {
  for (let at = from + 1; at < json.length; at++) {
    if (json[at] === '"') return at;
    if (json[at] === '\\') at++;
  }
  return json.length;
}

function countMembers(root: object): number {
  let count = 0;
  const open: object[] = [root];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    const children: unknown[] = Object.values(node);
    if (!Array.isArray(node)) count += children.length;
    for (const child of children) if (typeof child === 'object' && child !== null) open.push(child);
  }
  return count;
}

function missingFields(key: SigilKey, record: SigilRecord): FailedCheck[] {
  const wanted = key.kind === 'tenant' ? tenantFields : key.kind === 'row' ? rowFields : commonFields;
  const missing = wanted
    .filter((name) => [undefined, null, ''].some((empty) => own(record, name) === empty))
    .join(', ');
  return missing === '' ? [] : [failed('required_field', missing, null, `the record has no ${missing}`)];
}

function wrongTypes(record: SigilRecord, rules: RecordRules): FailedCheck[] {
  const wrong = (name: string, types: readonly string[]): FailedCheck[] => {
    const value = own(record, name);
    if (value === undefined || value === null || types.includes(typeof value)) return [];
    return [failed('schema', types.join(' or '), shownValue(value, rules.redact), `${name} has the wrong type`)];
  };
  return [...stringFields.flatMap((name) => wrong(name, ['string'])), ...wrong('updatedAt', ['string', 'number'])];
}

function disagreements(key: SigilKey, record: SigilRecord, rules: RecordRules): FailedCheck[] {
  const compare = (check: RecordCheck, name: string, expected: string): FailedCheck[] => {
    const actual = own(record, name);
    if (typeof actual !== 'string' || actual === '' || actual === expected) return [];
    const shown = shownValue(actual, rules.redact);
    return [failed(check, shownValue(expected, rules.redact), shown, `${name} is not the one in the key`)];
  };
  switch (key.kind) {
    case 'tenant':
      return [
        ...compare('tenant_isolation', 'tenantId', key.tenant),
        ...compare('key_value_agreement', 'symbol', key.symbol),
        ...compare('key_value_agreement', 'authHash', key.authHash),
      ];
    case 'namespaced':
      return [
        ...compare('key_value_agreement', 'id', key.id),
        ...compare('key_value_agreement', 'namespace', key.namespace),
      ];
    case 'plain':
      return compare('key_value_agreement', 'id', key.id);
    case 'row':
      return [
        ...compare('key_value_agreement', 'symbol', key.symbol),
        ...compare('key_value_agreement', 'authHash', key.authHash),
      ];
    case 'other':
      return [];
  }
}

function digestFailures(record: SigilRecord, rules: RecordRules): FailedCheck[] {
  try {
    return [...checksumFailure(record, rules), ...signatureFailure(record, rules)];
  } catch {
    // Stringifying recurses; only nesting far beyond any real record exhausts the stack.
    return [failed('json', null, null, 'the data is nested too deeply to be checked')];
  }
}

function checksumFailure(record: SigilRecord, rules: RecordRules): FailedCheck[] {
  const claimed = own(record, 'checksum');
  if (typeof claimed !== 'string') return [];
  const expected = createHash('sha256')
    .update(JSON.stringify(own(record, 'data') ?? {}))
    .digest('hex');
  if (claimed.toLowerCase() === expected) return [];
  return [failed('checksum', expected, shownValue(claimed, rules.redact), 'SHA-256 of data differs from checksum')];
}

/** The right signature is never computed into a finding: published, it would let anyone repair a forged record. */
function signatureFailure(record: SigilRecord, rules: RecordRules): FailedCheck[] {
  const claimed = own(record, 'signature');
  if (typeof claimed !== 'string' || claimed === '') return [];
  const actual = shownValue(claimed, rules.redact);
  if (!hex64.test(claimed)) return [failed('signature', '64 hex digits', actual, 'the signature has the wrong shape')];
  const signature = Buffer.from(claimed.toLowerCase());
  const genuine = signedTexts(record, rules).some((text) =>
    rules.secrets.some((secret) => secret.signed(text, 0, text.length, signature, 0)),
  );
  if (genuine || rules.secrets.length === 0) return [];
  const expected = 'HMAC-SHA256 of the payload under a current event secret';
  return [failed('signature', expected, actual, 'the signature is not made with a current event secret')];
}

/** What a writer may have signed; an absent payload is signed as `{}`, and some writers treat null as absent. */
function signedTexts(record: SigilRecord, rules: RecordRules): Buffer[] {
  const payload = rules.payloadOf(record);
  const texts = payload === undefined ? ['{}'] : payload === null ? ['null', '{}'] : [JSON.stringify(payload)];
  return texts.map((text) => Buffer.from(text));
}
