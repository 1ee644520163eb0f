import { randomBytes, randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { Registry } from 'prom-client';
import type { Clock } from '../common/clock.ts';
import { AppError } from '../common/errors.ts';
import { fingerprint, type KeyPair } from '../common/keys.ts';
import type { Logger } from '../common/log.ts';
import { createTeardown, type Teardown } from '../common/teardown.ts';
import { startAlerting } from './alerting.ts';
import { ensureOperatorToken } from './auth/operator-token.ts';
import { systemClock } from './clock.ts';
import type { CollectorSettings } from './config.ts';
import { applicationName, migrateDatabase, type OpenDatabase, openDatabase, warnOfWeaknesses } from './database.ts';
import { openManifestFollower, pollManifest } from './desired/follow.ts';
import type { ManifestStatement } from './desired/follower.ts';
import { createEnforcing } from './enforcing.ts';
import { createErasing } from './erasing.ts';
import { createHttpApp } from './http/app.ts';
import { createHttpServer, isLoopback, startListening, stopListening } from './http/server.ts';
import { collectorKeyPath, findCollectorKey, loadCollectorKey } from './keys.ts';
import { checkpointPath, fsCheckpointFile, tidyCheckpointFiles } from './ledger/fs-checkpoint-file.ts';
import { evidencePath, fsEvidenceFolder } from './ledger/fs-evidence-folder.ts';
import { Ledger, type LedgerMemory } from './ledger/ledger.ts';
import { createMetrics } from './metrics.ts';
import { createMirroring } from './mirroring.ts';
import { postgresEnrolment, postgresOperatorTokens, revokedChannel } from './postgres/access-store.ts';
import { alertFigures } from './postgres/alert-query-store.ts';
import { databaseNow } from './postgres/erasure-run-store.ts';
import { postgresLedgerStore } from './postgres/ledger-store.ts';
import { listen } from './postgres/listen.ts';
import { measuresChannel } from './postgres/measure-store.ts';
import { postgresNodeKeys } from './postgres/node-keys.ts';
import { fleetStats } from './postgres/query-store.ts';
import { createRetention } from './retention.ts';
import { createRevocations, type Revocations } from './revocations.ts';
import { openSignatureThreads } from './signatures/threads.ts';
import { openWitnessing } from './witnessing.ts';
import { attachSockets } from './ws/server.ts';

/** A collector that is up. */
export interface Collector {
  readonly url: string;
  /** Only at the first start of a database: the operator token, which nobody can show again. */
  readonly operatorToken: string | undefined;
  readonly database: string;
  readonly origin: string;
  readonly keyFingerprint: string;
  readonly ledgerSize: number;
  /** Takes no more, finishes what is under way, and closes everything in reverse order. */
  stop(): Promise<void>;
}

export interface CollectorNeeds {
  readonly logger: Logger;
  readonly clock?: Clock;
}

/**
 * Starts a collector: database, key, ledger, operator token, HTTP and sockets, in this order. What was started is closed
 * again when a later step fails.
 */
export async function startCollector(settings: CollectorSettings, needs: CollectorNeeds): Promise<Collector> {
  const teardown = createTeardown(needs.logger);
  try {
    return await start(settings, { clock: systemClock, ...needs, teardown });
  } catch (thrown) {
    await teardown.run();
    throw thrown;
  }
}

interface Parts {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly teardown: Teardown;
}

async function start(settings: CollectorSettings, parts: Parts): Promise<Collector> {
  const { logger, clock, teardown } = parts;
  const database = await openDatabase({ settings, logger, teardown });
  const applied = await migrateDatabase(database, clock);
  if (applied.length > 0) logger.info('database.migrated', { applied });
  await warnOfWeaknesses(database, logger);
  const keys = await keyOf(settings, database);
  const ledger = await openLedger(settings, { database, keys, clock, teardown, logger });
  const operators = postgresOperatorTokens(database.db);
  const operatorToken = await ensureOperatorToken({ store: operators, ledger, clock, randomBytes });
  const url = await serve(settings, { ...parts, database, keys, ledger });
  const { size } = await ledger.checkpoint();
  return {
    url,
    operatorToken,
    database: database.description,
    origin: ledger.origin,
    keyFingerprint: fingerprint(keys.publicKey),
    ledgerSize: size,
    stop: teardown.run,
  };
}

/**
 * Made only where there is no ledger yet: a new key would not be the one of the ledger that is there, and be in the way.
 * @throws AppError `state.conflict` when there is a ledger and no key; `auth.key_file`.
 */
async function keyOf({ dataDir }: CollectorSettings, { db, description }: OpenDatabase): Promise<KeyPair> {
  const path = collectorKeyPath(dataDir);
  const head = await postgresLedgerStore(db).head();
  if (head === undefined || head.range.size === 0) return loadCollectorKey(path);
  const keys = await findCollectorKey(path);
  if (keys !== undefined) return keys;
  throw new AppError(
    'state.conflict',
    `the database (${description}) holds the ledger ${head.origin}, but its key is not in ${path}. ` +
      "Put it there: from the backup, or, for a second collector, a copy of the first one's collector.key; or name the right --data-dir",
    { details: { path, origin: head.origin } },
  );
}

export interface LedgerNeeds {
  readonly database: OpenDatabase;
  readonly keys: KeyPair;
  readonly clock: Clock;
  readonly teardown: Teardown;
  readonly logger: Logger;
}

/**
 * The ledger of the settings, created when there is none, held against what is remembered in the data directory.
 * @throws AppError `state.conflict` when it is another key's; `ledger.tampered` when it is not the one published before.
 */
export async function openLedger(settings: CollectorSettings, needs: LedgerNeeds): Promise<Ledger> {
  const { database, keys, clock, teardown } = needs;
  const { origin } = settings.ledger;
  const memory = ledgerMemory(settings, needs);
  const [store, keyPath] = [postgresLedgerStore(database.db), collectorKeyPath(settings.dataDir)];
  const ledger = new Ledger({ store, origin, keys, keyPath, clock, memory });
  await ledger.start();
  await tidyCheckpointFiles(memory.file.path, clock.now() - staleWriteMs);
  teardown.add('ledger', () => ledger.close());
  return ledger;
}

/** A write of the checkpoint file takes far less. */
const staleWriteMs = 60_000;

export function ledgerMemory(
  { dataDir, ledger }: CollectorSettings,
  parts: { logger: Logger; clock: Clock },
): LedgerMemory {
  const { logger, clock } = parts;
  return {
    file: fsCheckpointFile(checkpointPath(dataDir), logger),
    evidence: fsEvidenceFolder(evidencePath(dataDir), ledger.origin, clock),
    logger,
  };
}

interface Served extends Parts {
  readonly database: OpenDatabase;
  readonly keys: KeyPair;
  readonly ledger: Ledger;
}

async function serve(settings: CollectorSettings, served: Served): Promise<string> {
  const { database, ledger, logger, clock, teardown } = served;
  const { db } = database;
  const erasing = createErasing(settings, served);
  const retention = createRetention(settings, {
    ...{ erasing, clock, logger, random: Math.random },
    databaseNow: () => databaseNow(db),
  });
  const metrics = createMetrics(new Registry(), {
    ledgerEntries: async () => (await ledger.checkpoint()).size,
    ledgerContradicted: () => ledger.contradiction !== undefined,
    queuedEntries: () => ledger.queuedEntries,
    erasedEntries: () => erasing.boundary(),
    retentionSucceededAt: () => retention.succeededAt,
    fleet: () => fleetStats(db),
    alerts: () => alertFigures(db),
  });
  const fleet = { store: postgresEnrolment(db), ledger, clock };
  const operators = postgresOperatorTokens(db);
  const { registry } = metrics;
  const following = { record: (statement: ManifestStatement) => ledger.record(statement), clock, logger, teardown };
  const follower = await openManifestFollower(settings, following);
  const shared = { ledger, registry, clock, logger, teardown };
  const enforcing = createEnforcing(settings, { ...shared, db, follower, metrics: metrics.enforcement });
  const witnessing = await openWitnessing(settings, {
    ...{ ...shared, database, ...(follower && { manifest: follower }) },
    orders: { witnesses: () => enforcing.manifest()?.policy.witnesses, vouched: enforcing.vouched },
  });
  const witnesses = witnessing.published;
  const app = createHttpApp({
    witnesses,
    db,
    ledger,
    fleet,
    operators,
    metrics,
    logger,
    clock,
    newRequestId: randomUUID,
    publicLog: settings.ledger.public,
    runbookUrl: settings.alerts.runbookUrl,
    lookAtDesired: follower && (() => follower.refresh()),
    enforcement: {
      manifest: enforcing.manifest,
      signers: settings.manifest,
      onRecorded: enforcing.heard,
    },
  });
  const server = createHttpServer(app);
  const nodes = postgresNodeKeys(db);
  const { rounds } = witnessing;
  const threads = openSignatureThreads(availableParallelism());
  teardown.add('signature threads', threads.close);
  const sockets = attachSockets(server, {
    ...{ ledger, nodes, rounds, logger, clock },
    verifySignature: threads.verify,
    metrics: metrics.sockets,
    onAppended: enforcing.saw,
    onOpen: enforcing.nodeCame,
    onHeld: enforcing.nodeHolds,
  });
  witnessing.start(sockets.offer);
  enforcing.start(sockets, witnessing.vouchers);
  if (follower !== undefined) await pollManifest(follower, following);
  const told = { db, ledger, clock, logger, teardown, metrics: metrics.alerts, random: Math.random };
  await startAlerting(settings, told);
  followMirror(settings, served);
  followUntilStopped('retention', (signal) => retention.follow(signal), teardown);
  await followMeasures(database, enforcing.measured, served);
  await cutRevoked(database, createRevocations({ nodes, sockets, logger }), served);
  teardown.add('server', () => stopListening(server, () => sockets.close()));
  const { host, port } = settings.http;
  if (!isLoopback(host))
    logger.warn('http.open_without_tls', { host, risk: 'tokens and entries can be read on the network' });
  return startListening(server, { host, port });
}

/** Keeps the ledger's copy in git up to date, if there is to be one. */
function followMirror(settings: CollectorSettings, { teardown, ...needs }: Served): void {
  const mirroring = createMirroring(settings, needs);
  followUntilStopped('mirror', async (signal) => mirroring?.follow(signal), teardown);
}

function followUntilStopped(name: string, follow: (signal: AbortSignal) => Promise<void>, teardown: Teardown): void {
  const stopping = new AbortController();
  const following = follow(stopping.signal);
  teardown.add(name, async () => {
    stopping.abort();
    await following;
  });
}

/** Hears of measures whoever has put them on record. What is not heard is found a moment later. */
async function followMeasures({ url }: OpenDatabase, measured: () => void, { logger, teardown }: Parts): Promise<void> {
  const listener = await listen({
    database: { url, applicationName },
    channel: measuresChannel,
    onNotify: measured,
    onListening: measured,
    logger,
  });
  teardown.add('measure listener', () => listener.stop());
}

/** Ends sessions of revoked keys, whichever collector or command revoked them. */
async function cutRevoked({ url }: OpenDatabase, revocations: Revocations, { logger, teardown }: Parts): Promise<void> {
  const listener = await listen({
    database: { url, applicationName },
    channel: revokedChannel,
    onNotify: revocations.announced,
    onListening: revocations.lookAtAll,
    logger,
  });
  teardown.add('revocation listener', () => listener.stop());
}
