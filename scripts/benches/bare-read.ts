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

/** The least that can be done with the same rows: one connection reads them once, and each body is hashed with SHA-256. */
export interface BareRead {
  /** @returns how many rows there were. */
  run(): Promise<number>;
  close(): Promise<void>;
}

export async function openBareRead(url: string): Promise<BareRead> {
  const client = await connectClient({ url, applicationName: 'sigilwatch-bench-bare' });
  return {
    run: () =>
      new Promise((resolve, reject) => {
        client.query(new HashedRows(resolve, reject));
      }),
    close: () => client.end(),
  };
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
