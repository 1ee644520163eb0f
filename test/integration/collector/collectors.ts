import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Collector, openLedger, startCollector } from '../../../collector/app.ts';
import { createApiToken } from '../../../collector/auth/api-tokens.ts';
import { local } from '../../../collector/auth/caller.ts';
import { permissionsOf } from '../../../collector/auth/permissions.ts';
import { systemClock } from '../../../collector/clock.ts';
import { type CollectorSettings, collectorSettings } from '../../../collector/config.ts';
import { collectorKeyPath, loadCollectorKey } from '../../../collector/data/keys.ts';
import { openDatabase } from '../../../collector/database.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresApiTokens } from '../../../collector/postgres/api-token-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { type EnrolRequest, enrolPath, parseJoinToken, signEnrolment } from '../../../common/enrol.ts';
import { headAfter, sealEntry } from '../../../common/entry.ts';
import { fingerprint, generateKeyPair, type KeyPair, rawPublicKey } from '../../../common/keys.ts';
import type { Statement } from '../../../common/kinds.ts';
import { loadSettings } from '../../../common/settings.ts';
import { createTeardown } from '../../../common/teardown.ts';
import { assertPromisedBy } from '../../answers.ts';
import { quietLogger } from '../../quiet-logger.ts';

/** A collector with a data directory of its own and, as if it were another process, a second hand on its data. */
export interface TestCollector {
  readonly collector: Collector;
  readonly settings: CollectorSettings;
  readonly token: string;
  readonly ledger: Ledger;
  readonly db: Db;
  /** An API call with the token. What is answered has to be what the contract says. */
  get(path: string): Promise<{ status: number; headers: Headers; json: Record<string, unknown> }>;
  stop(): Promise<void>;
}

/** @param more settings, as environment variables. */
export function settingsFor(
  dataDir: string,
  databaseUrl: string,
  more: Readonly<Record<string, string>> = {},
): CollectorSettings {
  const env = {
    SIGILWATCH_DATA_DIR: dataDir,
    DATABASE_URL: databaseUrl,
    SIGILWATCH_HTTP_PORT: '0',
    // By itself it is due at one hour of the day, and tests run at all of them.
    SIGILWATCH_INTEGRITY_SCHEDULE: 'off',
    ...more,
  };
  return loadSettings({ schema: collectorSettings, env }).values;
}

export async function startTestCollector(
  databaseUrl: string,
  more: Readonly<Record<string, string>> = {},
): Promise<TestCollector> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-collector-'));
  const settings = settingsFor(dataDir, databaseUrl, more);
  const collector = await startCollector(settings, { logger: quietLogger });
  const teardown = createTeardown(quietLogger);
  const database = await openDatabase({ settings, logger: quietLogger, teardown });
  const keys = await loadCollectorKey(collectorKeyPath(dataDir));
  const ledger = await openLedger(settings, { database, keys, clock: systemClock, teardown, logger: quietLogger });
  const token = await adminToken({ db: database.db, ledger });
  return {
    collector,
    settings,
    token,
    ledger,
    db: database.db,
    get: async (path) => {
      const answer = await fetch(`${collector.url}${path}`, { headers: { Authorization: `Bearer ${token}` } });
      await assertPromisedBy('GET', path, answer);
      return { status: answer.status, headers: answer.headers, json: JSON.parse(await answer.text()) };
    },
    stop: async () => {
      await teardown.run();
      await collector.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** An API token that may do everything, as somebody on the collector's machine makes it. */
export async function adminToken({ db, ledger }: { readonly db: Db; readonly ledger: Ledger }): Promise<string> {
  const ports = { apiTokens: postgresApiTokens(db), ledger, clock: systemClock, randomBytes };
  const permissions = [...permissionsOf('admin')];
  const wish = { name: `test-${randomBytes(4).toString('hex')}`, permissions, lastsMs: 24 * 60 * 60_000 };
  return (await createApiToken(ports, local, wish)).secret;
}

/** Posts an enrolment as an agent would. */
export async function postEnrolment(
  url: string,
  request: unknown,
): Promise<{ status: number; json: Record<string, unknown> }> {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(`${url}${enrolPath}`, { method: 'POST', headers, body: JSON.stringify(request) });
  await assertPromisedBy('POST', enrolPath, answer);
  return { status: answer.status, json: JSON.parse(await answer.text()) };
}

export function enrolmentOf(node: string, token: string, keys: KeyPair): EnrolRequest {
  return signEnrolment({ node, secret: parseJoinToken(token).secret, agent_version: '0.1.0' }, keys);
}

/** Enrols `node` by the collector's own record, without the token dance. */
export async function enrolDirectly(ledger: Ledger, node: string): Promise<KeyPair> {
  const keys = generateKeyPair();
  const publicKey = rawPublicKey(keys.publicKey).toString('base64');
  const print = fingerprint(keys.publicKey);
  await ledger.record({ kind: 'node.enrolled', body: { node, publicKey, fingerprint: print, agentVersion: '0.1.0' } });
  return keys;
}

/** Lets `node` say `statements`, chained and signed as its agent would. */
export async function say(
  ledger: Ledger,
  node: string,
  keys: KeyPair,
  statements: readonly Statement[],
): Promise<void> {
  let head = await ledger.authorHead(node);
  const entries = statements.map((statement) => {
    const signed = sealEntry(statement, { author: node, head, now: Date.now(), privateKey: keys.privateKey });
    head = headAfter(signed);
    return signed;
  });
  for (let at = 0; at < entries.length; at += 500) await ledger.append(entries.slice(at, at + 500));
}

export function driftOpened(container: string, kind: 'UNAUTHORIZED_CONTAINER' | 'MISSING_CONTAINER'): Statement {
  const drift = { id: `${kind}:${container}`, kind, container, containerId: null, differences: [] };
  return { kind: 'drift.opened', body: { drift, commit: null } };
}

export function driftResolved(container: string, kind: 'UNAUTHORIZED_CONTAINER' | 'MISSING_CONTAINER'): Statement {
  return { kind: 'drift.resolved', body: { id: `${kind}:${container}`, commit: null } };
}
