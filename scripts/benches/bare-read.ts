import { hash } from 'node:crypto';
import type pg from 'pg';
import { connectClient } from '../../collector/postgres/pool.ts';

/** "COPY", section "Binary Format", in PostgreSQL's manual: 11 bytes of signature, 4 of flags, 4 of header extension length. */
const headerBytes = 19;
/** A row of -1 columns ends the data. */
const trailer = -1;
const columnCountBytes = 2;
const lengthBytes = 4;
/** In front of the body: index, author, seq, kind, at, entry_hash and leaf_hash. */
const columnsBefore = 7;
const applicationName = 'sigilwatch-bench-bare';

/** Rows that are asked for at once. */
const pageRows = 4_096;

/** A loop that reads the rows of a ledger once, in order, and hashes each body with SHA-256. */
export interface BareRead {
  /** @returns how many rows there were. */
  run(): Promise<number>;
  close(): Promise<void>;
}

/** As anybody would write it: the driver's rows, page by page, with no more columns than are hashed. */
export async function openPagedRead(url: string): Promise<BareRead> {
  const client = await connectClient({ url, applicationName });
  const page = async (from: number): Promise<number> => {
    const { rows } = await client.query<{ bytes: Buffer; signature: Buffer }>({
      name: 'page',
      text: `select b.bytes, b.signature from entries e join entry_bodies b on b.index = e.index and b.index >= $1 and b.index < $2
              where e.index >= $1 and e.index < $2 order by e.index`,
      values: [from, from + pageRows],
    });
    for (const { bytes } of rows) hash('sha256', bytes, 'binary');
    return rows.length;
  };
  const run = async () => {
    let count = 0;
    for (let rows = await page(0); rows > 0; rows = await page(count)) count += rows;
    return count;
  };
  return { run, close: () => client.end() };
}

/** The least that can be done: all rows in one binary COPY, of which nothing is looked at and nothing copied. */
export async function openCopiedRead(url: string): Promise<BareRead> {
  const client = await connectClient({ url, applicationName });
  const run = () =>
    new Promise<number>((resolve, reject) => {
      client.query(new HashedRows(resolve, reject));
    });
  return { run, close: () => client.end() };
}

/** What the driver calls while the statement runs. */
class HashedRows implements pg.Submittable {
  readonly #resolve: (rows: number) => void;
  readonly #reject: (thrown: unknown) => void;
  #rows = 0;
  #begun = false;
  #failed = false;

  constructor(resolve: (rows: number) => void, reject: (thrown: unknown) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: pg.Connection): void {
    connection.query(
      `copy (select e.index, e.author, e.seq, e.kind, e.at, e.entry_hash, e.leaf_hash, b.bytes, b.signature
               from entries e join entry_bodies b using (index) order by e.index) to stdout (format binary)`,
    );
  }

  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    let at = this.#begun ? 0 : headerBytes;
    this.#begun = true;
    // The server sends each row in a message of its own, the header with the first.
    if (at === chunk.length || chunk.readInt16BE(at) === trailer) return;
    at += columnCountBytes;
    for (let column = 0; column < columnsBefore; column++) at += lengthBytes + chunk.readInt32BE(at);
    // Body and signature in one piece, with the length that stands between them: nothing is copied.
    hash('sha256', chunk.subarray(at + lengthBytes), 'binary');
    this.#rows += 1;
  }

  handleCommandComplete(): void {}

  handleError(thrown: unknown): void {
    this.#failed = true;
    this.#reject(thrown);
  }

  handleReadyForQuery(): void {
    if (!this.#failed) this.#resolve(this.#rows);
  }
}
