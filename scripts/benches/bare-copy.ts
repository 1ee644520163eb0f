import type pg from 'pg';
import type { StagedEntry } from '../../collector/ledger/store.ts';
import { CopyRows, copyIn } from '../../collector/postgres/copy.ts';
import { copyInRuns } from '../../collector/postgres/entry-runs.ts';
import { runTogether } from '../../collector/postgres/pipeline.ts';
import { connectClient } from '../../collector/postgres/pool.ts';
import type { SignedEntry } from '../../common/entry.ts';

/** Rows of one COPY, which is one transaction. */
const batchRows = 500;
/** What a row is expected to need at most, so that nothing is copied while a batch is encoded. */
const rowBytes = 1024;

/** The least that can be done to keep the same bytes, on one connection. */
export interface BareCopy {
  /** @returns milliseconds until the last batch is durable. */
  write(entries: readonly SignedEntry[]): Promise<number>;
  close(): Promise<void>;
}

/** One table without an index. */
export async function openBareCopy(url: string): Promise<BareCopy> {
  return openCopy(url, {
    prepare: async (client) => {
      await client.query(
        'create table if not exists bare (index bigint not null, bytes bytea not null, signature bytea not null)',
      );
      await client.query('truncate bare');
    },
    copy: (client, entries) => copyBodies(client, 'bare', entries),
  });
}

/**
 * The ledger's own tables for entries and bodies, with their indexes and constraints and nothing else: no tree, no chains, no
 * projections. What is left of a COPY's speed to whoever wants entries that can be looked up, and bodies that can be dropped.
 * @param url of a migrated database that holds no ledger.
 */
export async function openTablesCopy(url: string): Promise<BareCopy> {
  return openCopy(url, {
    prepare: async (client) => {
      await client.query('set session_replication_role = replica');
      await client.query('truncate entry_runs, run_bodies');
      await client.query('select ensure_body_partition(60000)');
    },
    copy: (client, entries) => runTogether(client, copyInRuns(entries.map(staged))),
  });
}

interface Way {
  prepare(client: pg.Client): Promise<unknown>;
  copy(client: pg.Client, entries: readonly Indexed[]): Promise<unknown>;
}

interface Indexed extends SignedEntry {
  readonly index: number;
}

async function openCopy(url: string, { prepare, copy }: Way): Promise<BareCopy> {
  const client = await connectClient({ url, applicationName: 'sigilwatch-bench-bare' });
  return {
    write: async (entries) => {
      await prepare(client);
      const indexed = entries.map((entry, index) => ({ ...entry, index }));
      const startedMs = performance.now();
      for (let at = 0; at < indexed.length; at += batchRows) await copy(client, indexed.slice(at, at + batchRows));
      return performance.now() - startedMs;
    },
    close: () => client.end(),
  };
}

function copyBodies(client: pg.Client, table: string, batch: readonly Indexed[]): Promise<void> {
  const rows = new CopyRows(batch.length * rowBytes);
  for (const { index, bytes, signature } of batch) {
    rows.row(3);
    rows.bigint(index);
    rows.bytea(bytes);
    rows.bytea(signature);
  }
  return copyIn(client, `copy ${table} (index, bytes, signature) from stdin (format binary)`, rows.messages());
}

/** Hashes that nobody looks at: any 32 bytes. */
function staged(entry: Indexed): StagedEntry {
  const leaf = Buffer.concat([Buffer.of(0), entry.bytes, entry.signature]);
  return { ...entry, leaf, leafHash: leaf.subarray(0, 32), hash: entry.entry.prev };
}
