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

/** What PostgreSQL knows the types by that our tables have (`pg_type.dat`). */
export const types = {
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  int4s: 1007,
  timestamptz: 1184,
  timestamptzs: 1185,
};

/** Reads the columns of what `record_send` made, in their order. */
export class RecordReader {
  readonly #bytes: Buffer;
  #at: number;

  /** @param at where the record begins, with the number of its columns. */
  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at + 4;
  }

  /** Where the next column begins, or ends what was the last one. */
  get at(): number {
    return this.#at;
  }

  /** @returns undefined for NULL, and for a value of another type: no column of ours has one. */
  next(type: number): Buffer | undefined {
    // In front of each value, the type's number and the length.
    const start = this.#at + 8;
    const is = this.#bytes.readInt32BE(start - 8);
    const length = this.#bytes.readInt32BE(start - 4);
    this.#at = start + Math.max(length, 0);
    return length < 0 || is !== type ? undefined : this.#bytes.subarray(start, this.#at);
  }
}

/** Number of dimensions, whether there are NULLs, type; of the one dimension, how many and from which number on. */
const arrayHeaderBytes = 20;
const lengthBytes = 4;

/** An array in binary form, of values that all have the same length. */
export class ArrayReader {
  readonly #bytes: Buffer;
  readonly #stepBytes: number;
  readonly length: number;

  private constructor(bytes: Buffer, length: number, valueBytes: number) {
    this.#bytes = bytes;
    this.length = length;
    this.#stepBytes = lengthBytes + valueBytes;
  }

  /** @returns undefined for NULL, and for what is not one row of values, counted from 1 and none of them NULL. */
  static over(bytes: Buffer | undefined, type: number, valueBytes: number): ArrayReader | undefined {
    if (bytes === undefined || bytes.length <= arrayHeaderBytes) return undefined;
    const [dimensions, hasNulls, is] = [bytes.readInt32BE(0), bytes.readInt32BE(4), bytes.readInt32BE(8)];
    const [length, first] = [bytes.readInt32BE(12), bytes.readInt32BE(16)];
    const isRow = dimensions === 1 && hasNulls === 0 && is === type && first === 1;
    const fits = bytes.length === arrayHeaderBytes + length * (lengthBytes + valueBytes);
    return isRow && fits ? new ArrayReader(bytes, length, valueBytes) : undefined;
  }

  /** Where a value stands, the first one being 0; at least 0 and less than {@link length}. */
  place(n: number): number {
    return arrayHeaderBytes + lengthBytes + n * this.#stepBytes;
  }

  get bytes(): Buffer {
    return this.#bytes;
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
