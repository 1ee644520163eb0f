import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connectClient } from '../../collector/postgres/pool.ts';
import { runningPostmaster } from '../../collector/postgres/postmaster.ts';
import { type Entry, parseEntry } from '../../common/entry.ts';

const deadlineMs = 15_000;

/** Looks into a collector's embedded database over a connection of its own, as any other session would see it. */
export interface LedgerEye {
  /** From now on; what is in the ledger already is no news. */
  forget(): Promise<void>;
  /**
   * Asks again and again until an entry passes `wanted` that came after `forget` and after all that was watched before.
   * @returns Unix milliseconds with a fraction: not before its commit, and later by one question and one pause at most
   * @throws after 15 s
   */
  watch(wanted: (entry: Entry) => boolean): Promise<number>;
  close(): Promise<void>;
}

/**
 * Why a poll: PostgreSQL's commit timestamps (`track_commit_timestamp`) are taken before the commit is flushed to disk, so
 * they are too early by just the part that takes long. `clock_timestamp()` is read while the statement runs, after it took
 * its snapshot, so a row that the statement shows was committed and visible by then. Database, engine and this process
 * read the clock of one machine.
 */
const news = {
  name: 'news',
  text: `select index, bytes, (extract(epoch from clock_timestamp()) * 1000)::double precision as at_ms
           from bodies_between($1, $1::bigint + 65536) order by index`,
};

interface News {
  readonly index: number;
  readonly bytes: Buffer;
  readonly at_ms: number;
}

/** @param pauseMs between two questions: the shorter, the more exact, and the more of the machine is lost to the eye itself */
export async function openLedgerEye(collectorDir: string, pauseMs: number): Promise<LedgerEye> {
  const client = await connectClient({ url: await databaseUrl(collectorDir), applicationName: 'sigilwatch-bench' });
  let from = 0;
  return {
    forget: async () => {
      const { rows } = await client.query<{ size: number }>('select size from ledger_head');
      from = rows[0]?.size ?? 0;
    },
    watch: async (wanted) => {
      const giveUpAt = performance.now() + deadlineMs;
      while (performance.now() < giveUpAt) {
        const { rows } = await client.query<News>({ ...news, values: [from] });
        for (const { index, bytes, at_ms } of rows) {
          from = index + 1;
          if (wanted(parseEntry(bytes))) return at_ms;
        }
        await delay(pauseMs);
      }
      throw new Error(`what was waited for did not come into the ledger within ${deadlineMs} ms`);
    },
    close: () => client.end(),
  };
}

async function databaseUrl(collectorDir: string): Promise<string> {
  const cluster = join(collectorDir, 'postgres');
  const server = await runningPostmaster(join(cluster, 'data'));
  if (server === undefined) throw new Error(`no PostgreSQL runs in ${cluster}`);
  const password = readFileSync(join(cluster, 'password'), 'utf8').trim();
  return `postgres://sigilwatch:${encodeURIComponent(password)}@127.0.0.1:${server.port}/sigilwatch`;
}
