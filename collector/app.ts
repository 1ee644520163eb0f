import { randomBytes, randomUUID } from 'node:crypto';
import { availableParallelism, hostname } from 'node:os';
import { Registry } from 'prom-client';
import type { Clock } from '../common/clock.ts';
import { AppError } from '../common/errors.ts';
import { fingerprint, type KeyPair } from '../common/keys.ts';
import type { Logger } from '../common/log.ts';
import { createTeardown, type Teardown } from '../common/teardown.ts';
import { eventsPath } from './api/events-contract.ts';
import { makeSetupCode } from './auth/setup.ts';
import { putInForce, watchInForce } from './budgets/in-force.ts';
import { systemClock } from './clock.ts';
import type { CollectorSettings } from './config.ts';
import { claimDataDir } from './data/data-version.ts';
import { collectorKeyPath, findCollectorKey, loadCollectorKey } from './data/keys.ts';
import { applicationName, migrateDatabase, type OpenDatabase, openDatabase, warnOfWeaknesses } from './database.ts';
import { openManifestFollower, pollManifest } from './desired/follow.ts';
import type { ManifestStatement } from './desired/follower.ts';
import { createHttpApp } from './http/app.ts';
import { createConnections } from './http/connections.ts';
import { type ReadySources, readiness } from './http/health-routes.ts';
import { sweepKeys } from './http/idempotency-sweep.ts';
import { createRates } from './http/rates.ts';
import {
  createHttpServer,
  createHttpsServer,
  isLoopback,
  requireSafeAddress,
  startListening,
  stopListening,
} from './http/server.ts';
import { followTls, readTls, type TakesCertificate, type TlsWatch, tlsFiles } from './http/tls.ts';
import { enteringBy } from './http/upgrades.ts';
import { createBreakers } from './jobs/breakers.ts';
import { checkpointPath, fsCheckpointFile, tidyCheckpointFiles } from './ledger/fs-checkpoint-file.ts';
import { evidencePath, fsEvidenceFolder } from './ledger/fs-evidence-folder.ts';
import { Ledger, type LedgerMemory } from './ledger/ledger.ts';
import { createMetrics } from './metrics.ts';
import { postgresEnrolment } from './postgres/access-store.ts';
import { alertFigures } from './postgres/alert-query-store.ts';
import { databaseNow } from './postgres/erasure-run-store.ts';
import { postgresIdempotency } from './postgres/idempotency-store.ts';
import { postgresIntegrityStore } from './postgres/integrity-store.ts';
import { jobFigures } from './postgres/job-figures-store.ts';
import { postgresLedgerStore } from './postgres/ledger-store.ts';
import { listen } from './postgres/listen.ts';
import { measuresChannel } from './postgres/measure-store.ts';
import { postgresNodeKeys } from './postgres/node-keys.ts';
import { postgresPresence } from './postgres/presence-store.ts';
import { fleetStats } from './postgres/query-store.ts';
import { followHolding } from './presence/holding.ts';
import { openSignatureThreads } from './signatures/threads.ts';
import { openSteadyClock, type SteadyClock } from './steady-clock.ts';
import { startAlerting } from './wiring/alerting.ts';
import { type Authenticating, createAuthenticating } from './wiring/authenticating.ts';
import { createChecking } from './wiring/checking.ts';
import { createEnforcing } from './wiring/enforcing.ts';
import { createErasing } from './wiring/erasing.ts';
import { openEventStreams } from './wiring/eventing.ts';
import { createMirroring } from './wiring/mirroring.ts';
import { createBudgeting } from './wiring/operating.ts';
import { registrationsIn } from './wiring/registrations.ts';
import { createRetention } from './wiring/retention.ts';
import { followRevocations } from './wiring/revocations.ts';
import { createScoring } from './wiring/scoring.ts';
import { openWitnessing } from './wiring/witnessing.ts';
import { createWorking, startWorker, type Working } from './wiring/working.ts';
import { createLive } from './ws/live.ts';
import { attachSockets } from './ws/server.ts';

/** A collector that is up. */
export interface Collector {
  readonly url: string;
  /** While there is no user: what makes the first administrator. Good until the next start. */
  readonly setupCode: string | undefined;
  readonly database: string;
  readonly origin: string;
  readonly keyFingerprint: string;
  readonly ledgerSize: number;
  /** What `/ready` would say is wrong. */
  unready(): Promise<string | undefined>;
  /** Takes no more, finishes what is under way, and closes everything in reverse order. */
  stop(): Promise<void>;
}

export interface CollectorNeeds {
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Descriptor of a socket to listen on, instead of the address of the settings. */
  readonly passed?: number | undefined;
}

/**
 * Starts a collector: database, key, ledger, setup code, HTTP and sockets, in this order. What was started is closed
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
  readonly passed?: number | undefined;
}

async function start(settings: CollectorSettings, parts: Parts): Promise<Collector> {
  const { logger, clock, teardown } = parts;
  const tls = await openTls(settings);
  await claimDataDir(settings.dataDir);
  const database = await openDatabase({ settings, logger, teardown });
  const applied = await migrateDatabase(database, clock);
  if (applied.length > 0) logger.info('database.migrated', { applied });
  await warnOfWeaknesses(database, logger);
  const keys = await keyOf(settings, database);
  const ledger = await openLedger(settings, { database, keys, clock, teardown, logger });
  const collectorKey = keys.privateKey;
  const needs = { db: database.db, ledger, collectorKey, clock, logger, randomBytes, times: settings.auth };
  const auth = createAuthenticating(needs);
  const steady = await openSteadyClock(settings.dataDir, {
    clock,
    logger,
    databaseNow: () => databaseNow(database.db),
  });
  followUntilStopped('clock', steady.follow, teardown);
  followUntilStopped('sign-in', (signal) => auth.follow(signal, steady.whyNot), teardown);
  const setupCode = await makeSetupCode(auth.ports);
  const url = await serve(settings, { ...parts, database, keys, ledger, auth, tls, steady });
  const { size } = await ledger.checkpoint();
  return {
    url,
    setupCode,
    database: database.description,
    origin: ledger.origin,
    keyFingerprint: fingerprint(keys.publicKey),
    ledgerSize: size,
    unready: () => whatIsWrong({ db: database.db, ledger }),
    stop: teardown.run,
  };
}

async function whatIsWrong(sources: ReadySources): Promise<string | undefined> {
  const wrong = Object.entries(await readiness(sources)).filter(([, found]) => found !== 'ok');
  return wrong.length === 0 ? undefined : wrong.map(([part, code]) => `${part}: ${code}`).join(', ');
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
  readonly tls: Certificate | undefined;
  readonly auth: Authenticating;
  readonly steady: SteadyClock;
}

async function serve(settings: CollectorSettings, served: Served): Promise<string> {
  const { database, ledger, logger, clock, teardown, tls, steady } = served;
  const { whyNot } = steady;
  const { db } = database;
  const erasing = createErasing(settings, served);
  const retention = createRetention(settings, { erasing, clock, logger, random: Math.random, whyNot });
  const metrics = createMetrics(new Registry(), {
    ledgerEntries: async () => (await ledger.checkpoint()).size,
    ledgerContradicted: () => ledger.contradiction !== undefined,
    queuedEntries: () => ledger.queuedEntries,
    erasedEntries: () => erasing.boundary(),
    retentionSucceededAt: () => retention.succeededAt,
    deletionsHeldMs: () => steady.heldMs,
    fleet: () => fleetStats(db),
    alerts: () => alertFigures(db),
    jobs: () => jobFigures(db),
    ledgerCheck: () => postgresIntegrityStore(db).last(),
  });
  const fleet = { store: postgresEnrolment(db), ledger, clock };
  const idempotency = postgresIdempotency(db);
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
  const working = await openWorking(settings, served);
  const scoring = createScoring(settings, { database, ledger, working, clock, logger });
  scoring.check();
  const events = await openEventStreams({ database, clock, logger, teardown, metrics: metrics.events });
  const connections = createConnections(settings.http, registry);
  const app = createHttpApp({
    connections,
    witnesses,
    working,
    events,
    db,
    ledger,
    fleet,
    idempotency,
    rates: createRates(settings.http, clock),
    auth: served.auth,
    metrics,
    monitoring: settings.monitoring,
    logger,
    clock,
    newRequestId: randomUUID,
    overTls: tls !== undefined,
    corsOrigins: settings.http.cors.origins,
    trustedProxies: settings.http.trustedProxies,
    publicLog: settings.ledger.public,
    joinTokenTtlMs: settings.fleet.joinTokenTtlMs,
    runbookUrl: settings.alerts.runbookUrl,
    budgets: settings.budgets,
    lookAtDesired: follower && (() => follower.refresh()),
    artifacts: { sweep: scoring.sweep },
    enforcement: {
      manifest: enforcing.manifest,
      signers: settings.manifest,
      onRecorded: enforcing.heard,
    },
  });
  const server =
    tls === undefined ? createHttpServer(app) : followedServer(createHttpsServer(app, tls.inForce), tls, served);
  connections.guard(server);
  const nodes = postgresNodeKeys(db);
  const { rounds } = witnessing;
  const threads = openSignatureThreads(availableParallelism());
  teardown.add('signature threads', threads.close);
  const live = createLive({ enter: enteringBy(app), clock, logger });
  const sockets = attachSockets(server, {
    entrances: new Map([[eventsPath, live.upgrade]]),
    isCrowded: ({ socket }) => connections.isInReserve(socket),
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
  const breakers = createBreakers({ store: working.breakers.store });
  const told = { db, ledger, clock, logger, teardown, witnesses, breakers, whyNot, random: Math.random };
  await startAlerting(settings, { ...told, metrics: metrics.alerts });
  await startWorker(settings.jobs, working, { ...told, metrics: metrics.jobs });
  followMirror(settings, served);
  followUntilStopped('retention', (signal) => retention.follow(signal), teardown);
  followUntilStopped('idempotency sweep', (signal) => sweepKeys(idempotency, { whyNot, logger }, signal), teardown);
  followUntilStopped('integrity', async (signal) => createChecking(settings, served)?.follow(signal), teardown);
  followUntilStopped('scoring', scoring.follow, teardown);
  await followMeasures(database, enforcing.measured, served);
  await followRevocations(settings, { ...{ nodes, sockets, logger, teardown }, url: database.url });
  const endStreams = async () => {
    await events.stop();
    await live.close();
  };
  teardown.add('server', () =>
    stopListening(server, async () => void (await Promise.all([sockets.close(), endStreams()]))),
  );
  const url = await startListening(server, { settings: settings.http, tls: tls?.inForce, passed: served.passed });
  const { hostname: host } = new URL(url);
  if (tls === undefined && !isLoopback(host.replace(/^\[|\]$/g, '')))
    logger.warn('http.open_without_tls', { host, risk: 'tokens and entries can be read on the network' });
  const present = { store: postgresPresence(db), id: randomUUID(), name: `${hostname()}:${new URL(url).port}` };
  const holding = { ...present, nodes: sockets.orders.nodes, clock, logger };
  followUntilStopped('presence', (signal) => followHolding(holding, signal), teardown);
  await followBudgets(settings, served);
  return url;
}

/** Once nothing can fail any more: a start that came to nothing must not take the budgets of another collector out of force. */
async function followBudgets(
  { budgets }: CollectorSettings,
  { database, ledger, logger, teardown }: Served,
): Promise<void> {
  const budgeting = createBudgeting({ db: database.db, ledger, budgets });
  await putInForce(budgeting, logger);
  followUntilStopped('budgets', (signal) => watchInForce(budgeting, logger, signal), teardown);
}

/** The certificate to begin with; undefined without TLS. */
async function openTls({ http }: CollectorSettings): Promise<Certificate | undefined> {
  const files = tlsFiles(http);
  const tls = files && { files, inForce: await readTls(files) };
  requireSafeAddress(http, tls?.inForce);
  return tls;
}

type Certificate = Pick<TlsWatch, 'files' | 'inForce'>;

/** @returns the same server, whose certificate is renewed with its files. */
function followedServer<S extends TakesCertificate>(server: S, tls: Certificate, { logger, teardown }: Parts): S {
  followUntilStopped('certificate', (signal) => followTls({ ...tls, server, logger, signal }), teardown);
  return server;
}

/** What carries out enforcements of artifacts. */
async function openWorking(settings: CollectorSettings, { database, ledger, clock }: Served): Promise<Working> {
  const registrations = registrationsIn(settings, { database, openLedger: async () => ledger });
  const working = createWorking(settings.jobs, { ...{ db: database.db, ledger, clock }, ...registrations });
  await working.load();
  return working;
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
