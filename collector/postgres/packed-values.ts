/*
 * Values in PostgreSQL's binary form, as exactly as they are stored: whoever owns the database may have put any value anywhere, and
 * that must be told, not thrown.
 */

/** From the Unix epoch to PostgreSQL's, 2000-01-01. */
const epochMs = 946_684_800_000;

/** An `int8`. Beyond 2^53 not exact, but beyond 2^53 all the same. */
export function int8At(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

/** A `timestamptz` in whole milliseconds since the Unix epoch. */
export function timeMsAt(bytes: Buffer, at: number): number {
  const micros = int8At(bytes, at);
  if (Number.isSafeInteger(micros)) return Math.floor(micros / 1_000) + epochMs;
  const exact = bytes.readBigInt64BE(at);
  return Number((exact - restOf(exact)) / 1_000n) + epochMs;
}

/** What it holds beyond them in microseconds, 0 to 999. */
export function timeMicrosAt(bytes: Buffer, at: number): number {
  const micros = int8At(bytes, at);
  if (Number.isSafeInteger(micros)) return micros - Math.floor(micros / 1_000) * 1_000;
  return Number(restOf(bytes.readBigInt64BE(at)));
}

function restOf(micros: bigint): bigint {
  return ((micros % 1_000n) + 1_000n) % 1_000n;
}

/** Reads the columns of what `record_send` made, in their order; undefined for NULL. */
export class RecordReader {
  readonly #record: Buffer;
  /** Behind the number of columns. */
  #at = 4;

  constructor(record: Buffer) {
    this.#record = record;
  }

  next(): Buffer | undefined {
    // In front of each value, the type's number and the length.
    const length = this.#record.readInt32BE(this.#at + 4);
    const start = this.#at + 8;
    this.#at = start + Math.max(length, 0);
    return length < 0 ? undefined : this.#record.subarray(start, this.#at);
  }
}

/** Kept names; a power of two. */
const slots = 1_024;

/** The few names that come again and again: the same bytes give the same text, which is then made and hashed only once. */
export class Names {
  readonly #bytes: (Buffer | undefined)[] = Array.from({ length: slots }, () => undefined);
  readonly #texts: string[] = Array.from({ length: slots }, () => '');

  /** @param from of `bytes`, up to but not including `to`. */
  read(bytes: Buffer, from: number, to: number): string {
    let slot = to - from;
    for (let at = from; at < to; at++) slot = (slot * 31 + (bytes[at] ?? 0)) & (slots - 1);
    const known = this.#bytes[slot];
    if (known !== undefined && isAt(known, bytes, from, to)) return this.#texts[slot] ?? '';
    const text = bytes.toString('utf8', from, to);
    this.#bytes[slot] = Buffer.from(bytes.subarray(from, to));
    this.#texts[slot] = text;
    return text;
  }
}

function isAt(known: Buffer, bytes: Buffer, from: number, to: number): boolean {
  if (known.length !== to - from) return false;
  for (let at = 0; at < known.length; at++) if (known[at] !== bytes[from + at]) return false;
  return true;
}
