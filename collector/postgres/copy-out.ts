import pg from 'pg';
import { databaseFailure, type Queryable, type Tx, withClient } from './pool.ts';

/*
 * Rows read in PostgreSQL's binary COPY format ("COPY", section "Binary Format", in its manual): a fifth of what the
 * driver needs for the same rows in text form.
 */

/** 11 bytes of signature, 4 of flags, 4 of header extension length. */
const headerBytes = 19;
/** A row of -1 columns ends the data. */
const trailer = -1;
/** Rows are handed over in groups of at most so many, or as soon as they hold so many bytes. */
const groupRows = 256;
const groupBytes = 512 * 1024;
/** Bytes that wait to be taken; beyond it the server is not listened to until half of them have been. */
const maxWaitingBytes = 4 * 1024 * 1024;
/** Bytes of rows are kept in slabs of this size. */
const slabBytes = 256 * 1024;
/** From the Unix epoch to PostgreSQL's, 2000-01-01. */
const epochMs = 946_684_800_000;

/**
 * The columns of one row, to be read in their order. What has not the length of its type, NULL included, is a value that no
 * row of ours has: whoever owns the database may have changed the table, and that must be told, not thrown.
 */
export class CopiedRow {
  #row: Buffer = Buffer.alloc(0);
  #at = 0;
  #micros = 0;
  #slab: Buffer = Buffer.alloc(0);
  #slabUsed = 0;

  /** @returns the place behind the row's column count, for {@link at}. */
  start(row: Buffer, at: number): void {
    this.#row = row;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  /** NaN for what is none. Beyond 2^53 not exact, but beyond 2^53 all the same. */
  bigint(): number {
    const start = this.#column(8);
    return start < 0 ? Number.NaN : this.#row.readInt32BE(start) * 2 ** 32 + this.#row.readUInt32BE(start + 4);
  }

  /** Whole milliseconds since the Unix epoch, NaN for what is none; what is beyond them is in {@link micros}. */
  timestamptz(): number {
    const start = this.#column(8);
    this.#micros = 0;
    if (start < 0) return Number.NaN;
    const micros = this.#row.readInt32BE(start) * 2 ** 32 + this.#row.readUInt32BE(start + 4);
    if (Number.isSafeInteger(micros)) {
      const ms = Math.floor(micros / 1_000);
      this.#micros = micros - ms * 1_000;
      return ms + epochMs;
    }
    const exact = this.#row.readBigInt64BE(start);
    const rest = ((exact % 1_000n) + 1_000n) % 1_000n;
    this.#micros = Number(rest);
    return Number((exact - rest) / 1_000n) + epochMs;
  }

  /** Of the time read last, 0 to 999. */
  get micros(): number {
    return this.#micros;
  }

  text(): string {
    return this.#string('utf8');
  }

  hex(): string {
    return this.#string('hex');
  }

  /** One character per byte. */
  binary(): string {
    return this.#string('latin1');
  }

  /**
   * Two columns, one directly behind the other and `before` in front of them: what is going to be hashed in one piece.
   * Undefined when either is NULL.
   */
  joined(before: number): { readonly bytes: Buffer; readonly first: number } | undefined {
    const first = this.#length();
    const firstAt = this.#at;
    if (first > 0) this.#at += first;
    const second = this.#length();
    const secondAt = this.#at;
    if (second > 0) this.#at += second;
    if (first < 0 || second < 0) return undefined;
    const bytes = this.#room(1 + first + second);
    bytes[0] = before;
    this.#row.copy(bytes, 1, firstAt, firstAt + first);
    this.#row.copy(bytes, 1 + first, secondAt, secondAt + second);
    return { bytes, first };
  }

  #string(encoding: 'utf8' | 'hex' | 'latin1'): string {
    const length = this.#length();
    if (length <= 0) return '';
    const start = this.#at;
    this.#at += length;
    return this.#row.toString(encoding, start, this.#at);
  }

  #column(expected: number): number {
    const length = this.#length();
    const start = this.#at;
    if (length > 0) this.#at += length;
    return length === expected ? start : -1;
  }

  #length(): number {
    const length = this.#row.readInt32BE(this.#at);
    this.#at += 4;
    return length;
  }

  /** The driver uses its own buffers again, so what is kept is copied. */
  #room(length: number): Buffer {
    if (this.#slabUsed + length > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(length, slabBytes));
      this.#slabUsed = 0;
    }
    const start = this.#slabUsed;
    this.#slabUsed += length;
    return this.#slab.subarray(start, this.#slabUsed);
  }
}

/** Rows on their way, in groups. Whoever stops before the end closes it. */
export interface CopiedRows<Row> extends AsyncIterable<readonly Row[]> {
  /** Resolves when the connection is free again. */
  close(): Promise<void>;
}

/** When a statement may begin: at once, or when the one before it on the same connection is done. */
export type Turns = <T>(statement: () => Promise<T>) => Promise<T>;

/** A pool has connections for all, one connection does one thing after the other. */
export function turnsOf(db: Queryable): Turns {
  if (db instanceof pg.Pool) return (statement) => statement();
  let last: Promise<unknown> = Promise.resolve();
  return (statement) => {
    const mine = last.then(statement);
    last = mine.catch(() => {});
    return mine;
  };
}

/**
 * Begins to read at once and goes on while rows are looked at, with bounded memory.
 * @param select a statement without parameters.
 * @param decode reads all columns of one row.
 */
export function copyOut<Row>(
  { db, turns }: { readonly db: Queryable; readonly turns: Turns },
  select: string,
  decode: (row: CopiedRow) => Row,
): CopiedRows<Row> {
  const copy = new CopyOut(`copy (${select}) to stdout (format binary)`, decode);
  const onOne = (client: Tx) => onClient(client, copy);
  const done = turns(() => (db instanceof pg.Pool ? withClient(db, onOne) : onOne(db)));
  // Told to whoever takes rows; closing without having taken them all is no reason to hear of it.
  done.catch((thrown: unknown) => copy.fail(thrown));
  return {
    [Symbol.asyncIterator]: () => copy.groups(),
    close: async () => {
      copy.discard();
      await done.catch(() => {});
    },
  };
}

function onClient<Row>(client: Tx, copy: CopyOut<Row>): Promise<void> {
  return new Promise((resolve, reject) => {
    copy.whenDone(resolve, reject);
    client.query(copy);
  });
}

/** What the driver calls while the statement runs, and what takes the rows on the other side. */
class CopyOut<Row> {
  readonly #sql: string;
  readonly #decode: (row: CopiedRow) => Row;
  readonly #row = new CopiedRow();
  readonly #groups: { rows: Row[]; bytes: number }[] = [];
  #filling: { rows: Row[]; bytes: number } = { rows: [], bytes: 0 };
  #waitingBytes = 0;
  #begun = false;
  #discarded = false;
  #connection: pg.Connection | undefined;
  #paused = false;
  #end: 'open' | 'done' | { readonly thrown: unknown } = 'open';
  #error: unknown;
  #wake: () => void = () => {};
  #resolve: () => void = () => {};
  #reject: (thrown: unknown) => void = () => {};

  constructor(sql: string, decode: (row: CopiedRow) => Row) {
    this.#sql = sql;
    this.#decode = decode;
  }

  whenDone(resolve: () => void, reject: (thrown: unknown) => void): void {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  async *groups(): AsyncGenerator<readonly Row[]> {
    for (;;) {
      const group = this.#groups.shift();
      if (group !== undefined) {
        this.#taken(group.bytes);
        yield group.rows;
      } else if (this.#end === 'open') {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else if (this.#end === 'done') {
        return;
      } else {
        throw databaseFailure(this.#end.thrown) ?? this.#end.thrown;
      }
    }
  }

  /** What is still to come is read and dropped: a statement that was begun cannot be left half read. */
  discard(): void {
    this.#discarded = true;
    this.#groups.length = 0;
    this.#resume();
  }

  fail(thrown: unknown): void {
    if (this.#end === 'open') this.#finish({ thrown });
  }

  /** @returns what the driver takes for the statement's failure, before anything was sent. */
  submit(connection: pg.Connection): Error | undefined {
    if (this.#discarded) return new Error('nobody waits for these rows any more');
    this.#connection = connection;
    connection.query(this.#sql);
    return undefined;
  }

  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    if (this.#discarded) return;
    // The server sends each row in a message of its own, the header with the first.
    let at = this.#begun ? 0 : headerBytes;
    this.#begun = true;
    while (at < chunk.length && chunk.readInt16BE(at) !== trailer) {
      this.#row.start(chunk, at + 2);
      this.#filling.rows.push(this.#decode(this.#row));
      at = this.#row.at;
    }
    this.#filling.bytes += chunk.length;
    if (this.#filling.rows.length >= groupRows || this.#filling.bytes >= groupBytes) this.#handOver();
  }

  handleCommandComplete(): void {}

  handleError(thrown: unknown): void {
    this.#error = thrown;
    // A connection that is gone is never ready again.
    if (this.#connection === undefined || databaseFailure(thrown) !== undefined) this.handleReadyForQuery();
  }

  handleReadyForQuery(): void {
    if (this.#error === undefined) {
      this.#finish('done');
      this.#resolve();
    } else {
      this.#reject(this.#error);
    }
  }

  #finish(end: 'done' | { readonly thrown: unknown }): void {
    if (this.#filling.rows.length > 0) this.#handOver();
    this.#end = end;
    this.#wake();
  }

  #handOver(): void {
    this.#groups.push(this.#filling);
    this.#waitingBytes += this.#filling.bytes;
    this.#filling = { rows: [], bytes: 0 };
    if (this.#waitingBytes > maxWaitingBytes && !this.#paused) {
      this.#paused = true;
      this.#connection?.stream.pause();
    }
    this.#wake();
  }

  #taken(bytes: number): void {
    this.#waitingBytes -= bytes;
    if (this.#waitingBytes <= maxWaitingBytes / 2) this.#resume();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#connection?.stream.resume();
  }
}
