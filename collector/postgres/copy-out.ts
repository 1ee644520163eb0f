import pg from 'pg';
import { databaseFailure, type Queryable, type Tx, withClient } from './pool.ts';

/*
 * Rows read in PostgreSQL's binary COPY format ("COPY", section "Binary Format", in its manual). What a row costs here is the
 * message it comes in, so that many small ones are best packed into one by the statement.
 */

/** 11 bytes of signature, 4 of flags, 4 of header extension length. */
const headerBytes = 19;
/** A row of -1 columns ends the data. */
const trailer = -1;
/** In front of the one column: how many there are, and its length. */
const beforeColumn = 2 + 4;
/** Bytes that wait to be taken; beyond it the server is not listened to until half of them have been. */
const maxWaitingBytes = 4 * 1024 * 1024;

/** Rows on their way. Whoever stops before the end closes it. */
export interface CopiedRows<Row> extends AsyncIterable<Row> {
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
 * @param select a statement without parameters, with one column of type `bytea`; where that is NULL the row is left out.
 * @param decode is handed bytes that are its own to keep.
 */
export function copyOut<Row>(
  { db, turns }: { readonly db: Queryable; readonly turns: Turns },
  select: string,
  decode: (column: Buffer) => Row,
): CopiedRows<Row> {
  const copy = new CopyOut(`copy (${select}) to stdout (format binary)`, decode);
  const onOne = (client: Tx) => onClient(client, copy);
  const done = turns(() => (db instanceof pg.Pool ? withClient(db, onOne) : onOne(db)));
  // Told to whoever takes rows; closing without having taken them all is no reason to hear of it.
  done.catch((thrown: unknown) => copy.fail(thrown));
  return {
    [Symbol.asyncIterator]: () => copy.rows(),
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
  readonly #decode: (column: Buffer) => Row;
  readonly #rows: { readonly row: Row; readonly bytes: number }[] = [];
  #waitingBytes = 0;
  #begun = false;
  #discarded = false;
  #connection: pg.Connection | undefined;
  #paused = false;
  #end: 'open' | 'done' | { readonly thrown: unknown } = 'open';
  #wake: () => void = () => {};
  #resolve: () => void = () => {};
  #reject: (thrown: unknown) => void = () => {};

  constructor(sql: string, decode: (column: Buffer) => Row) {
    this.#sql = sql;
    this.#decode = decode;
  }

  whenDone(resolve: () => void, reject: (thrown: unknown) => void): void {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  async *rows(): AsyncGenerator<Row> {
    for (;;) {
      const next = this.#rows.shift();
      if (next !== undefined) {
        this.#taken(next.bytes);
        yield next.row;
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
    this.#rows.length = 0;
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
    if (at === chunk.length || chunk.readInt16BE(at) === trailer) return;
    at += beforeColumn;
    if (chunk.readInt32BE(at - 4) < 0) return;
    // The driver uses its own buffers again, so what is kept is copied.
    this.#add(this.#decode(Buffer.from(chunk.subarray(at))), chunk.length);
  }

  handleCommandComplete(): void {}

  /** The last that is heard of this statement: the driver keeps to itself when the connection is ready for the next one. */
  handleError(thrown: unknown): void {
    this.#reject(thrown);
  }

  handleReadyForQuery(): void {
    this.#finish('done');
    this.#resolve();
  }

  #finish(end: 'done' | { readonly thrown: unknown }): void {
    this.#end = end;
    this.#wake();
  }

  #add(row: Row, bytes: number): void {
    this.#rows.push({ row, bytes });
    this.#waitingBytes += bytes;
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
