import type { SigilRecord } from './sigil-checks.ts';

/** Longer patterns cost more to build than they save. */
const maxPatternChars = 4_096;
/** Different kinds of items that the lists of one record may hold. */
const maxItemPatterns = 4;
const maxMembers = 32;
/** Of SHA-256 and HMAC-SHA256. */
const digestChars = 64;

// Everything below is written for bytes read as latin1, and matches exactly what JSON.stringify writes.
// Numbers of up to 15 digits come back from a double as they were; JavaScript writes an exponent for what is below 1e-6.
const number = String.raw`(?:0|-?[1-9][0-9]{0,14}|-?[1-9][0-9]{0,6}\.[0-9]{0,6}[1-9]|-?0\.(?!000000)[0-9]{0,13}[1-9])`;
const asciiScalar = scalarOf(String.raw`[^"\\\x00-\x1f\x80-\xff]`);
const scalar = scalarOf(String.raw`[^"\\\x00-\x1f]`);
const plainText = String.raw`"[^"\\\x00-\x1f\x80-\xff]+"`;
/** Compared with the key, byte by byte. */
const keyPart = '"[^"]+"';
/** Compared with what was computed, or looked at otherwise. */
const digest = `"${'[^]'.repeat(digestChars)}"`;

const fieldPatterns: ReadonlyMap<string, string> = new Map([
  ['id', plainText],
  ['tenantId', keyPart],
  ['symbol', keyPart],
  ['authHash', keyPart],
  ['checksum', digest],
  ['signature', digest],
]);
const tenantFields = ['tenantId', 'symbol', 'authHash', 'updatedAt'];

interface Member {
  /** Length of what stands between the value before and its own. */
  readonly gap: number;
  /**
   * How its end is found: at the next quote, by its length, from the end of the record where everything behind it has a known length, or
   * by a group of the pattern, which costs most.
   */
  readonly end: 'quote' | 'digest' | 'rest' | 'captured';
  /** Length of what stands behind it if all of that are digests. */
  readonly behind: number;
  /** For whoever wants to know where it is. */
  readonly span: Span | undefined;
}

/** Where a value stands: first byte, and the byte after it. A string's quotes belong to it. */
export interface Span {
  start: number;
  end: number;
}

/**
 * The members of one record, in their order and down to the last nested name, as a pattern that finds the next record made the same
 * way in the bytes that hold it: most records of a store are written by one program. What matches is byte for byte what
 * `JSON.stringify` writes for what it means, no name occurs twice, and every field has its type. One that does not match may be as
 * good; only a parser can tell.
 */
export class RecordShape {
  /** Whether records of this shape belong under a tenant's key, or else under one of the older forms. */
  readonly isTenant: boolean;
  /** Whether everything but what is compared with the key is ASCII; otherwise somebody has to see whether it is UTF-8. */
  readonly isAscii: boolean;
  readonly id: Span = { start: 0, end: 0 };
  readonly tenantId: Span = { start: 0, end: 0 };
  readonly symbol: Span = { start: 0, end: 0 };
  readonly authHash: Span = { start: 0, end: 0 };
  readonly data: Span = { start: 0, end: 0 };
  readonly signature: Span = { start: 0, end: 0 };
  readonly checksum: Span | null;
  /** A string or a number. */
  readonly updatedAt: Span | null;
  readonly #pattern: RegExp;
  readonly #members: readonly Member[];
  readonly #captures: boolean;

  private constructor(record: SigilRecord, values: readonly string[], isAscii: boolean) {
    const names = Object.keys(record);
    this.isTenant = names.includes('tenantId');
    this.isAscii = isAscii;
    this.checksum = names.includes('checksum') ? { start: 0, end: 0 } : null;
    this.updatedAt = names.includes('updatedAt') ? { start: 0, end: 0 } : null;
    const gaps = names.map((name, nth) => `${nth === 0 ? '{' : ','}${JSON.stringify(name)}:`);
    this.#members = this.#measured(record, gaps);
    this.#captures = this.#members.some(({ end }) => end === 'captured');
    const groups = this.#members.map(({ end }, nth) => (end === 'captured' ? `(${values[nth]})` : values[nth]));
    this.#pattern = new RegExp(`${gaps.map((gap, nth) => literal(gap) + groups[nth]).join('')}\\}`, 'y');
  }

  #measured(record: SigilRecord, gaps: readonly string[]): readonly Member[] {
    const spans = new Map(Object.entries(this.#spans()));
    const names = Object.keys(record);
    const ends = names.map((name) => endOf(name, record[name]));
    const lastUnknown = ends.findLastIndex((end) => end !== 'digest');
    return names.map((name, nth) => ({
      gap: gaps[nth]?.length ?? 0,
      end: nth === lastUnknown ? 'rest' : (ends[nth] ?? 'captured'),
      behind: gaps.slice(nth + 1).reduce((sum, gap) => sum + gap.length + digestChars + 2, 1),
      span: spans.get(name),
    }));
  }

  #spans(): Readonly<Record<string, Span>> {
    const { id, tenantId, symbol, authHash, data, signature, checksum, updatedAt } = this;
    const always = { id, tenantId, symbol, authHash, data, signature };
    return { ...always, ...(checksum && { checksum }), ...(updatedAt && { updatedAt }) };
  }

  /**
   * The shape of a record that passes every check; null for one that others can hardly be expected to look like, or whose data has
   * to be looked at by a parser.
   */
  static of(record: SigilRecord, isAscii: boolean): RecordShape | null {
    const names = Object.keys(record);
    const { data } = record;
    if (names.length > maxMembers || data === undefined || data === null || 'namespace' in record) return null;
    if (new Set(tenantFields.map((name) => names.includes(name))).size > 1) return null;
    const values = names.map(
      (name) =>
        fieldPattern(name, record[name]) ??
        patternOf(record[name], { scalar: isAscii ? asciiScalar : scalar, room: maxPatternChars }),
    );
    const length = values.reduce((sum, value) => sum + (value?.length ?? maxPatternChars), 0);
    const isPlain = names.every(isPrintable);
    const known = values.flatMap((value) => value ?? []);
    return length < maxPatternChars && isPlain && known.length === names.length
      ? new RecordShape(record, known, isAscii)
      : null;
  }

  /**
   * Whether exactly `text[start, end)` is a record of this shape; the spans then say where its fields stand.
   * @param text one character per byte
   */
  find(text: string, start: number, end: number): boolean {
    const pattern = this.#pattern;
    pattern.lastIndex = start;
    const found = this.#captures ? pattern.exec(text) : null;
    if (found === null && (this.#captures || !pattern.test(text))) return false;
    if (pattern.lastIndex !== end) return false;
    let at = start;
    let group = 1;
    for (const { gap, end: ends, behind, span } of this.#members) {
      const valueStart = at + gap;
      if (ends === 'quote') at = text.indexOf('"', valueStart + 1) + 1;
      else if (ends === 'digest') at = valueStart + digestChars + 2;
      else if (ends === 'rest') at = end - behind;
      else at = valueStart + (found?.[group++]?.length ?? 0);
      if (span !== undefined) {
        span.start = valueStart;
        span.end = at;
      }
    }
    return true;
  }
}

interface PatternOptions {
  /** What stands for any string, number or constant. */
  readonly scalar: string;
  /** Characters that the pattern may have. */
  readonly room: number;
}

/** For any value made like this one; undefined when that takes too much room. */
function patternOf(value: unknown, options: PatternOptions): string | undefined {
  if (typeof value !== 'object' || value === null) return options.scalar;
  const pattern = Array.isArray(value) ? listPattern(value, options) : objectPattern(Object.entries(value), options);
  return pattern === undefined || pattern.length > options.room ? undefined : pattern;
}

function objectPattern(
  members: readonly (readonly [string, unknown])[],
  { scalar, room }: PatternOptions,
): string | undefined {
  const parts: string[] = [];
  let left = room;
  for (const [name, value] of members) {
    const pattern = left > 0 && isPrintable(name) ? patternOf(value, { scalar, room: left }) : undefined;
    if (pattern === undefined) return undefined;
    parts.push(`${literal(JSON.stringify(name))}:${pattern}`);
    left -= pattern.length + name.length;
  }
  return `\\{${parts.join(',')}\\}`;
}

/** Any number of items, each made like one of these. */
function listPattern(items: readonly unknown[], options: PatternOptions): string | undefined {
  const patterns = new Set([options.scalar]);
  for (const item of items) {
    const pattern = patterns.size > maxItemPatterns ? undefined : patternOf(item, options);
    if (pattern === undefined) return undefined;
    patterns.add(pattern);
  }
  return String.raw`\[(?:(?:${[...patterns].join('|')})(?:,(?!\])|(?=\])))*\]`;
}

/** Of a member that is no foreign data; undefined for others. */
function fieldPattern(name: string, value: unknown): string | undefined {
  if (name === 'updatedAt') return typeof value === 'string' ? plainText : number;
  // Whoever hashes one way hashes all that way; another length is another shape.
  if (name === 'authHash' && typeof value === 'string' && value.length === digestChars) return digest;
  return fieldPatterns.get(name);
}

function endOf(name: string, value: unknown): Member['end'] {
  const pattern = fieldPattern(name, value);
  if (pattern === digest) return 'digest';
  // No escaped quote is in any of them.
  return pattern === plainText || pattern === keyPart ? 'quote' : 'captured';
}

function scalarOf(char: string): string {
  return String.raw`(?:"${char}*(?:\\["\\bfnrt]${char}*)*"|${number}|true|false|null)`;
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}

function isPrintable(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}
