import { type KeyObject, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { systemClock } from '../../collector/clock.ts';
import { Ledger } from '../../collector/ledger/ledger.ts';
import { openEmbedded } from '../../collector/postgres/embedded.ts';
import { postgresLedgerStore } from '../../collector/postgres/ledger-store.ts';
import { migrate, migrationsDir, readMigrations } from '../../collector/postgres/migrate.ts';
import { connectClient, createPool, type Db } from '../../collector/postgres/pool.ts';
import type { SignedEntry } from '../../common/entry.ts';
import { fingerprint, generateKeyPair, type KeyPair, rawPublicKey } from '../../common/keys.ts';
import type { StatementOf } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { quietLogger } from '../../test/quiet-logger.ts';
import { makeTemporaryFolder, takeCareOf } from '../../test/system.ts';
import { type BenchAuthor, benchAuthor } from './append-entries.ts';

export const sessions = 8;
const applicationName = 'sigilwatch-bench';

/** A real PostgreSQL as the collector runs it, with databases made on demand. */
export interface BenchPostgres {
  readonly url: string;
  /** @param template the name of a database that nobody is connected to; migrated and empty without one. */
  createDatabase(name: string, template?: string): Promise<string>;
  /** So that what was measured last leaves nothing to be written, cleaned up or analysed while something else is. */
  settle(databaseUrl: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startBenchPostgres(): Promise<BenchPostgres> {
  const { path } = makeTemporaryFolder('sgw-bench-');
  const newPassword = () => randomBytes(16).toString('hex');
  const embedded = await openEmbedded({ dataDir: join(path, 'collector'), newPassword, logger: quietLogger });
  const forget = takeCareOf({ remove: embedded.release, removeNow: () => {} });
  return {
    url: embedded.url,
    settle: async (url) => {
      const client = await connectClient({ url, applicationName });
      await client.query('vacuum (analyze)');
      await client.query('checkpoint');
      await client.end();
    },
    stop: async () => {
      await embedded.release();
      forget();
    },
    createDatabase: async (name, template) => {
      const client = await connectClient({ url: embedded.url, applicationName });
      await client.query(`create database ${name} template ${template ?? 'template0'}`);
      await client.end();
      const url = Object.assign(new URL(embedded.url), { pathname: `/${name}` }).href;
      if (template === undefined)
        await migrate({ url, applicationName }, await readMigrations(migrationsDir), systemClock);
      return url;
    },
  };
}

/** A ledger with the nodes that write to it. */
export interface BenchLedger {
  readonly ledger: Ledger;
  readonly db: Db;
  readonly authors: readonly BenchAuthor[];
  close(): Promise<void>;
}

/** A ledger in the database at `url`, with {@link sessions} newly enrolled nodes named after `name`. */
export async function openBenchLedger(url: string, name: string, keys = generateKeyPair()): Promise<BenchLedger> {
  const opened = await openLedgerAt(url, keys);
  const authors = Array.from({ length: sessions }, (_, at) => benchAuthor(`${name}${at + 1}`));
  for (const { node, keys } of authors) await opened.ledger.record(enrolment(node, keys.publicKey));
  return { ...opened, authors };
}

/** Name of the logs of benches. */
export const benchOrigin = 'sigilwatch.bench/ledger';

/** A ledger in the database at `url`, begun if there is none. */
export async function openLedgerAt(url: string, keys: KeyPair): Promise<Omit<BenchLedger, 'authors'>> {
  const db = createPool({ url, applicationName, maxConnections: limits.databaseConnections, onIdleError: () => {} });
  const ledger = new Ledger({ store: postgresLedgerStore(db), origin: benchOrigin, keys, clock: systemClock });
  await ledger.start();
  const close = async () => {
    await ledger.close();
    await db.end();
  };
  return { ledger, db, close };
}

/** What enrolment puts on record. */
export function enrolment(node: string, key: KeyObject): StatementOf<'node.enrolled'> {
  const publicKey = rawPublicKey(key).toString('base64');
  return { kind: 'node.enrolled', body: { node, publicKey, fingerprint: fingerprint(key), agentVersion: 'bench' } };
}

/** Entries of each author, in batches as they would come in frames. */
export type Batches = readonly (readonly (readonly SignedEntry[])[])[];

export function inBatches(entries: readonly SignedEntry[], size: number): (readonly SignedEntry[])[] {
  const batches = [];
  for (let at = 0; at < entries.length; at += size) batches.push(entries.slice(at, at + size));
  return batches;
}

/** Appends as the sessions do: all authors at once, each with up to four batches under way. @returns milliseconds. */
export async function appendAll(
  { ledger, authors }: BenchLedger,
  perAuthor: readonly (readonly SignedEntry[])[],
): Promise<number> {
  const startedMs = performance.now();
  await Promise.all(
    authors.map(({ keys }, at) =>
      appendOne(ledger, keys.publicKey, inBatches(perAuthor[at] ?? [], limits.maxAppendEntries)),
    ),
  );
  return performance.now() - startedMs;
}

async function appendOne(
  ledger: Ledger,
  key: BenchAuthor['keys']['publicKey'],
  batches: readonly (readonly SignedEntry[])[],
): Promise<void> {
  const underWay: Promise<unknown>[] = [];
  for (const batch of batches) {
    if (underWay.length >= limits.maxAppendsInFlight) await underWay.shift();
    underWay.push(ledger.append(batch, key));
  }
  await Promise.all(underWay);
}
