import assert from 'node:assert/strict';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Collector, startCollector } from '../../collector/app.ts';
import { systemClock } from '../../collector/clock.ts';
import { collectorKeyPath, loadCollectorKey } from '../../collector/data/keys.ts';
import { Ledger } from '../../collector/ledger/ledger.ts';
import { postgresLedgerStore } from '../../collector/postgres/ledger-store.ts';
import { connectClient, createPool } from '../../collector/postgres/pool.ts';
import { generateKeyPair, type KeyPair } from '../../common/keys.ts';
import { formatVerifierKey, type NoteSigner, noteSigner, signatureTypes, verifierKey } from '../../common/note.ts';
import { driftOpened, enrolDirectly, say, settingsFor } from '../integration/collector/collectors.ts';
import { changeOneByOne } from '../one-by-one.ts';
import type { TestPostgres } from '../postgres.ts';
import { quietLogger } from '../quiet-logger.ts';
import type { Fetch } from './tile-auditor.ts';

/** A filled ledger in a database that nobody is connected to, so that any number of collectors can each have a copy. */
export interface FilledLedger {
  readonly url: string;
  readonly writer: string;
  readonly keyFile: string;
  readonly keys: KeyPair;
  readonly vkey: string;
  readonly origin: string;
  /** Signed notes of earlier sizes, smallest first; the last is of all there is. */
  readonly notes: readonly string[];
}

const origin = 'sigilwatch.local/ledger';

/** Two nodes that say several hundred things, in a ledger kept by the collector's restricted role. */
export async function fillLedger(postgres: TestPostgres, dir: string): Promise<FilledLedger> {
  const { url, ownerUrl } = await postgres.writerDatabase();
  const keyFile = collectorKeyPath(dir);
  const keys = await loadCollectorKey(keyFile);
  const pool = createPool({ url, applicationName: 'test', maxConnections: 2, onIdleError: () => {} });
  const ledger = new Ledger({ store: postgresLedgerStore(pool), origin, keys, clock: systemClock });
  await ledger.start();
  const notes: string[] = [];
  for (const [node, sayings] of Object.entries({ lyra: 255, node1: 350, node2: 120 })) {
    const nodeKeys = await enrolDirectly(ledger, node);
    const drifts = Array.from({ length: sayings }, (_, i) => driftOpened(`c${i}`, 'UNAUTHORIZED_CONTAINER'));
    await say(ledger, node, nodeKeys, drifts);
    notes.push((await ledger.checkpoint()).note);
  }
  await ledger.close();
  await pool.end();
  return { url: ownerUrl, writer: new URL(url).username, keyFile, keys, vkey: ledger.vkey, origin, notes };
}

export interface ServedCopy {
  readonly collector: Collector;
  /** Of the log's prefix, with a slash at the end. */
  readonly prefix: string;
  readonly dataDir: string;
  readonly databaseUrl: string;
  /** As a superuser, with all triggers off. */
  tamper(sql: string): Promise<void>;
  stop(): Promise<void>;
}

/** A collector, open to everybody below `/log/`, on a copy of the ledger: nothing of it is in its memory yet. */
export async function serveCopy(postgres: TestPostgres, { url, writer, keyFile }: FilledLedger): Promise<ServedCopy> {
  const copy = await postgres.copyOf(url);
  const databaseUrl = Object.assign(new URL(copy), { username: writer, password: 'word' }).href;
  const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-independent-'));
  await copyFile(keyFile, collectorKeyPath(dataDir));
  const settings = settingsFor(dataDir, databaseUrl, { SIGILWATCH_LEDGER_PUBLIC: 'true' });
  const collector = await startCollector(settings, { logger: quietLogger });
  return {
    collector,
    prefix: `${collector.url}/log/`,
    dataDir,
    databaseUrl,
    tamper: async (sql) => {
      const client = await connectClient({ url: copy, applicationName: 'test' });
      await changeOneByOne(client);
      await client.query(`set session_replication_role = replica; ${sql}`);
      await client.end();
    },
    stop: async () => {
      await collector.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Reads below a prefix, as any client would: without a token. */
export function fetchFrom(prefix: string): Fetch {
  return async (path) => {
    const answer = await fetch(prefix + path);
    assert.equal(answer.status, 200, `GET ${path}: ${answer.status}`);
    return Buffer.from(await answer.arrayBuffer());
  };
}

/** What a proxy makes of the answer to a path; undefined for 404. */
export type Tampering = (path: string, honest: Buffer) => Buffer | undefined;

export interface TamperingProxy {
  readonly prefix: string;
  /** From now on, until the next. */
  set(tampering: Tampering): void;
  stop(): Promise<void>;
}

const honestly: Tampering = (_path, honest) => honest;

/** Stands between the log and its clients. Asks the log for each thing once: its files do not change but for the checkpoint. */
export async function startTamperingProxy(log: Fetch): Promise<TamperingProxy> {
  let tampering = honestly;
  const known = new Map<string, Buffer>();
  const honest = async (path: string): Promise<Buffer> => {
    const bytes = known.get(path) ?? (await log(path));
    known.set(path, bytes);
    return bytes;
  };
  const server = createServer((request, response) => {
    const path = (request.url ?? '').slice(1);
    honest(path)
      .then((bytes) => tampering(path, Buffer.from(bytes)))
      .catch(() => undefined)
      .then((bytes) => response.writeHead(bytes === undefined ? 404 : 200).end(bytes));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    prefix: `http://127.0.0.1:${port}/`,
    set: (next) => {
      tampering = next;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A witness of the tests, with what it takes to sign: the attacker's side is free to use what it likes. */
export interface TestWitness {
  readonly name: string;
  readonly vkey: string;
  readonly signer: NoteSigner;
}

export function makeWitness(name: string): TestWitness {
  const pair = generateKeyPair();
  return {
    name,
    vkey: formatVerifierKey(verifierKey(name, signatureTypes.cosignatureV1, pair.publicKey)),
    signer: noteSigner(name, signatureTypes.cosignatureV1, pair),
  };
}
