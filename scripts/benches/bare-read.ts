import { hash } from 'node:crypto';
import type pg from 'pg';
import { connectClient } from '../../collector/postgres/pool.ts';

/** "COPY", section "Binary Format", in PostgreSQL's manual: 11 bytes of signature, 4 of flags, 4 of header extension length. */
const headerBytes = 19;
/** A row of -1 columns ends the data. */
const trailer = -1;
const columnCountBytes = 2;
const lengthBytes = 4;
/** In front of `ends`: index, width, author, seq, kind, times, entry_hashes and leaf_hashes. */
const columnsBefore = 8;
/** In the binary form of an array of one dimension, in front of its values; each has its length in front. */
const arrayHeaderBytes = 20;
const endBytes = lengthBytes + 4;
const applicationName = 'sigilwatch-bench-bare';

/** Rows that are asked for at once. */
const pageRows = 4_096;

/** A loop that reads the entries of a ledger once, in order, and hashes each body with SHA-256. */
export interface BareRead {
  /** @returns how many entries there were. */
  run(): Promise<number>;
  close(): Promise<void>;
}

/** As anybody would write it: the driver's rows, one for each entry, page by page, with no more columns than are hashed. */
export async function openPagedRead(url: string): Promise<BareRead> {
  const client = await connectClient({ url, applicationName });
  const page = async (from: number): Promise<number> => {
    const { rows } = await client.query<{ bytes: Buffer; signature: Buffer }>({
      name: 'page',
      text: 'select bytes, signature from bodies_between($1, $2) order by index',
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

/** The least that can be done: all runs in one binary COPY, of which nothing but the leaves is looked at and nothing copied. */
export async function openCopiedRead(url: string): Promise<BareRead> {
  const client = await connectClient({ url, applicationName });
  const run = () =>
    new Promise<number>((resolve, reject) => {
      client.query(new HashedLeaves(resolve, reject));
    });
  return { run, close: () => client.end() };
}

/** What the driver calls while the statement runs. */
class HashedLeaves implements pg.Submittable {
  readonly #resolve: (entries: number) => void;
  readonly #reject: (thrown: unknown) => void;
  #count = 0;
  #begun = false;
  #failed = false;

  constructor(resolve: (entries: number) => void, reject: (thrown: unknown) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: pg.Connection): void {
    connection.query(
      `copy (select r.index, r.width, r.author, r.seq, r.kind, r.times, r.entry_hashes, r.leaf_hashes, b.ends, b.leaves
               from entry_runs r join run_bodies b using (index) order by r.index) to stdout (format binary)`,
    );
  }

  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    let at = this.#begun ? 0 : headerBytes;
    this.#begun = true;
    // The server sends each row in a message of its own, the header with the first.
    if (at === chunk.length || chunk.readInt16BE(at) === trailer) return;
    at += columnCountBytes;
    for (let column = 0; column < columnsBefore; column++) at += lengthBytes + chunk.readInt32BE(at);
    const endsAt = at + lengthBytes + arrayHeaderBytes + lengthBytes;
    const endsLength = chunk.readInt32BE(at);
    const leaves = chunk.subarray(at + lengthBytes + endsLength + lengthBytes);
    const count = (endsLength - arrayHeaderBytes) / endBytes;
    for (let n = 0, start = 0; n < count; n++) {
      const end = chunk.readInt32BE(endsAt + n * endBytes);
      hash('sha256', leaves.subarray(start, end), 'binary');
      start = end;
    }
    this.#count += count;
  }

  handleCommandComplete(): void {}

  handleError(thrown: unknown): void {
    this.#failed = true;
    this.#reject(thrown);
  }

  handleReadyForQuery(): void {
    if (!this.#failed) this.#resolve(this.#count);
  }
}
