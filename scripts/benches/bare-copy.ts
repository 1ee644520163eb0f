import type pg from 'pg';
import { CopyRows, copyIn } from '../../collector/postgres/copy.ts';
import { connectClient } from '../../collector/postgres/pool.ts';
import type { SignedEntry } from '../../common/entry.ts';

/** Rows of one COPY, which is one transaction. */
const batchRows = 500;
/** What a row is expected to need at most, so that nothing is copied while a batch is encoded. */
const rowBytes = 1024;

/** The least that can be done to keep the same bytes: one table without an index, one connection. */
export interface BareCopy {
  /** @returns milliseconds until the last batch is durable. */
  write(entries: readonly SignedEntry[]): Promise<number>;
  close(): Promise<void>;
}

export async function openBareCopy(url: string): Promise<BareCopy> {
  const client = await connectClient({ url, applicationName: 'sigilwatch-bench-bare' });
  await client.query('create table bare (index bigint not null, bytes bytea not null, signature bytea not null)');
  let size = 0;
  return {
    write: async (entries) => {
      await client.query('truncate bare');
      const startedMs = performance.now();
      for (let at = 0; at < entries.length; at += batchRows) {
        const batch = entries.slice(at, at + batchRows);
        await copyBatch(client, batch, size);
        size += batch.length;
      }
      return performance.now() - startedMs;
    },
    close: () => client.end(),
  };
}

function copyBatch(client: pg.Client, batch: readonly SignedEntry[], firstIndex: number): Promise<void> {
  const rows = new CopyRows(batch.length * rowBytes);
  for (const [at, { bytes, signature }] of batch.entries()) {
    rows.row(3);
    rows.bigint(firstIndex + at);
    rows.bytea(bytes);
    rows.bytea(signature);
  }
  return copyIn(client, 'copy bare (index, bytes, signature) from stdin (format binary)', rows.messages());
}
