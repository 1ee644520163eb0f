import type pg from 'pg';

/*
 * Rows in PostgreSQL's binary COPY format ("COPY", section "Binary Format", in its manual), written straight into the
 * messages that carry them.
 */

/** 11 bytes of signature, 4 of flags, 4 of header extension length. */
const header = Buffer.from('5047434f50590aff0d0a000000000000000000', 'hex');
/** A row of -1 columns ends the data. */
const trailer = Buffer.from('ffff', 'hex');
/** Code and length, which counts itself, stand before every message of the protocol. */
const messageHeaderBytes = 5;
const copyDataCode = 0x64;
/** `CopyDone`, which has no body. */
const copyDone = Buffer.from('6300000004', 'hex');
/** Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01. */
const epochMicroseconds = 946_684_800_000_000n;
/** Numbers of types (`pg_type.dat`). */
const int4 = 23;
const timestamptz = 1184;
const initialBytes = 64 * 1024;

/** Grows to what is written into it. The same row layout, column by column, as the COPY statement it is for. */
export class CopyRows {
  #bytes: Buffer;
  #at = messageHeaderBytes;

  constructor(expectedBytes = initialBytes) {
    this.#bytes = Buffer.allocUnsafe(expectedBytes);
    this.#at += header.copy(this.#bytes, this.#at);
  }

  /** Starts a row of `columns` columns, which must follow. */
  row(columns: number): void {
    this.#reserve(2);
    this.#at = this.#bytes.writeInt16BE(columns, this.#at);
  }

  smallint(value: number): void {
    this.#reserve(6);
    this.#at = this.#bytes.writeInt32BE(2, this.#at);
    this.#at = this.#bytes.writeInt16BE(value, this.#at);
  }

  /** @param value a safe integer. */
  bigint(value: number): void {
    this.#reserve(12);
    const high = Math.floor(value / 2 ** 32);
    this.#at = this.#bytes.writeInt32BE(8, this.#at);
    this.#at = this.#bytes.writeInt32BE(high, this.#at);
    this.#at = this.#bytes.writeUInt32BE(value - high * 2 ** 32, this.#at);
  }

  text(value: string): void {
    this.bytea(Buffer.from(value, 'utf8'));
  }

  /** @param unixMs an integer. */
  timestamptz(unixMs: number): void {
    this.#reserve(12);
    this.#at = this.#bytes.writeInt32BE(8, this.#at);
    this.#at = this.#bytes.writeBigInt64BE(BigInt(unixMs) * 1_000n - epochMicroseconds, this.#at);
  }

  bytea(value: Uint8Array): void {
    this.#reserve(4 + value.length);
    this.#at = this.#bytes.writeInt32BE(value.length, this.#at);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  hex(digits: string): void {
    const length = digits.length / 2;
    this.#reserve(4 + length);
    this.#at = this.#bytes.writeInt32BE(length, this.#at);
    this.#at += this.#bytes.write(digits, this.#at, 'hex');
  }

  /** One value, of these one behind the other. */
  concat(parts: readonly Uint8Array[]): void {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    this.#reserve(4 + length);
    this.#at = this.#bytes.writeInt32BE(length, this.#at);
    for (const part of piecesOf(parts)) {
      this.#bytes.set(part, this.#at);
      this.#at += part.length;
    }
  }

  /** @param values integers; at least one. */
  intArray(values: readonly number[]): void {
    this.#array(int4, values.length, 4);
    for (const value of values) {
      this.#at = this.#bytes.writeInt32BE(4, this.#at);
      this.#at = this.#bytes.writeInt32BE(value, this.#at);
    }
  }

  /** @param unixMs integers; at least one. */
  timestamptzArray(unixMs: readonly number[]): void {
    this.#array(timestamptz, unixMs.length, 8);
    for (const one of unixMs) this.timestamptz(one);
  }

  /** What stands before the elements: dimensions, whether there are NULLs, their type, how many, and the number of the first. */
  #array(type: number, length: number, elementBytes: number): void {
    const bytes = 20 + length * (4 + elementBytes);
    this.#reserve(4 + bytes);
    for (const word of [bytes, 1, 0, type, length, 1]) this.#at = this.#bytes.writeInt32BE(word, this.#at);
  }

  /** The protocol messages `CopyData` and `CopyDone` with all rows. Nothing can be added after. */
  messages(): Buffer {
    this.#reserve(trailer.length + copyDone.length);
    this.#at += trailer.copy(this.#bytes, this.#at);
    this.#bytes[0] = copyDataCode;
    this.#bytes.writeInt32BE(this.#at - 1, 1);
    this.#at += copyDone.copy(this.#bytes, this.#at);
    return this.#bytes.subarray(0, this.#at);
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.#at + more));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
  }
}

/** The same bytes in as few pieces as they lie in: copying costs more by the piece than by the byte. */
function piecesOf(parts: readonly Uint8Array[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let [start, end] = [0, 0];
  let memory: ArrayBufferLike | undefined;
  for (const { buffer, byteOffset, length } of parts) {
    if (buffer !== memory || byteOffset !== end) {
      if (memory !== undefined) pieces.push(new Uint8Array(memory, start, end - start));
      [memory, start] = [buffer, byteOffset];
    }
    end = byteOffset + length;
  }
  if (memory !== undefined) pieces.push(new Uint8Array(memory, start, end - start));
  return pieces;
}

/** Runs one `COPY ... FROM STDIN BINARY`. The rows are sent along with the statement; should it fail, the server skips them. */
export function copyIn(client: pg.ClientBase, sql: string, rows: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    client.query({
      submit: (connection: pg.Connection) => {
        connection.query(sql);
        connection.stream.write(rows);
      },
      handleCopyInResponse: () => {},
      handleCommandComplete: () => {},
      handleError: reject,
      handleReadyForQuery: () => resolve(),
    });
  });
}
