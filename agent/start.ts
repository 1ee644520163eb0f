import { randomBytes } from 'node:crypto';
import type { Server } from 'node:http';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../common/clock.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import { parseVerifierKey } from '../common/note.ts';
import type { Notifier } from '../common/notify.ts';
import { createTeardown, type Teardown } from '../common/teardown.ts';
import { version } from '../common/version.ts';
import { Agent, type OrderNeeds } from './agent.ts';
import { createCarriedDesk } from './airgap/desk.ts';
import { serveLocally } from './airgap/local-server.ts';
import { isAllThere, missingImages } from './airgap/missing-images.ts';
import { dropAbandoned } from './airgap/turn.ts';
import type { AgentSettings } from './config.ts';
import { claimDataDir } from './data/data-version.ts';
import { diskSpace } from './data/disk.ts';
import { createHoldingBoard, type HoldingBoard } from './desired/holding.ts';
import type { Engine } from './docker/engine.ts';
import { closeHttp, serveHttp, urlOf } from './health/http.ts';
import { agentMetrics } from './health/metrics.ts';
import { type AgentStatus, agentStatus } from './health/status.ts';
import { ensureDataDir, type Identity, loadIdentity } from './identity.ts';
import type { Nightly } from './integrity/nightly.ts';
import { readAuthorities } from './link/authorities.ts';
import { type ForkDesk, openForkDesk } from './link/fork-desk.ts';
import { type Link, startLink } from './link/link.ts';
import { createMailbox, type Mailbox } from './link/mailbox.ts';
import { sshApprovals } from './orders/approvers.ts';
import { fsEvidence } from './orders/evidence.ts';
import { containerMaker } from './orders/make.ts';
import { type Outbox, openOutbox } from './outbox/outbox.ts';
import { everySlot } from './schedule.ts';
import { controlOf, desiredSourceOf, engineOf, imageTagsOf, nightlyOf, storeWatchesOf } from './sources.ts';
import { Account } from './told/account.ts';
import type { Cycle } from './told/coverage-account.ts';

export interface StartOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** The service manager, when there is one. */
  readonly notifier: Notifier;
}

export interface RunningAgent {
  /** Where `/healthz` and `/metrics` are served. */
  readonly url: string;
  status(): AgentStatus;
  /** Stops in the reverse order of starting; resolves when the outbox is closed. */
  stop(): Promise<void>;
}

/**
 * Wires the agent and starts it: identity, outbox, link, watching, and the local HTTP server. What was started is closed
 * again when a later step fails.
 * @throws AppError `auth.required` when the node is not enrolled, `auth.key_file`, `validation.config` (a data directory
 *   that cannot be written), `state.conflict` (another agent is running on the same data directory or port, or a later
 *   version has written the directory), `outbox.write_failed` or `outbox.full` when the disk does not serve
 */
export async function startAgent(settings: AgentSettings, options: StartOptions): Promise<RunningAgent> {
  const teardown = createTeardown(options.logger);
  try {
    return await start(settings, { ...options, teardown });
  } catch (thrown) {
    await teardown.run();
    throw thrown;
  }
}

interface Needs extends StartOptions {
  readonly teardown: Teardown;
}

async function start(settings: AgentSettings, needs: Needs): Promise<RunningAgent> {
  const { notifier, teardown } = needs;
  const identity = await loadIdentity(settings.dataDir);
  await ensureDataDir(settings.dataDir);
  await claimDataDir(settings.dataDir);
  const outbox = await openQueue(settings, identity, needs);
  const account = new Account(outbox);
  const forks = await openForkDesk({ dataDir: settings.dataDir, journal: account, ...needs });
  const mailbox = createMailbox();
  const holding = createHoldingBoard();
  const ca = await readAuthorities(settings.collector.caFile);
  const reached = { ...identity, collector: atAddress(identity.collector, settings.collector.url) };
  const link = connect(reached, { outbox, forks, mailbox, holding, ca }, needs);
  const books = { node: identity.node, outbox, account, link, holding };
  const { agent, nightly, server, status } = await watch(settings, books, needs);
  teardown.add('agent', () => agent.stop());
  outbox.onRecovered(() => {
    account.forget();
    agent.retell();
  });
  await agent.start();
  nightly?.start();
  teardown.add('nightly', async () => nightly?.stop());
  mailbox.deliverTo({
    order: (issued) => void agent.obey(issued),
    measure: (word) => agent.heed(word),
    bundle: (commit, bundle) => void agent.offer(commit, bundle),
  });
  await carryByHand(settings, { ...books, identity, forks, agent }, needs);
  // Life signs come with the scans, and one scan may take as long again as it is apart from the next.
  await notifier.ready(`watching ${identity.node}`, settings.scanIntervalMs * 1.5);
  const stop = async () => {
    await notifier.stopping();
    await teardown.run();
  };
  return { url: urlOf(server), status, stop };
}

interface CarryNeeds extends Books {
  readonly identity: Identity;
  readonly forks: ForkDesk;
  readonly agent: Agent;
}

/** Takes what waits since the last run, and then what commands on this machine bring. */
async function carryByHand(settings: AgentSettings, parts: CarryNeeds, needs: Needs): Promise<void> {
  const { dataDir } = settings;
  const { identity, outbox, holding, link, forks, agent } = parts;
  const { clock, logger, teardown } = needs;
  const { node, keys, collector } = identity;
  const images = imageTagsOf(settings);
  const desk = createCarriedDesk({
    ...{ dataDir, node, keys, version, outbox, link, clock, logger },
    logKey: parseVerifierKey(collector.vkey),
    imagesDir: imagesDirOf(dataDir),
    isAllThere: () => isAllThere(agent.wanted, images),
    keepFork: (fork) => forks.keep(fork),
    receiver: {
      desired: ({ commit, bytes }) => agent.offer(commit, bytes),
      heed: (word) => agent.heed(word),
      obey: (order) => agent.obey(order),
    },
  });
  void dropAbandoned(dataDir);
  void desk.takeWaiting();
  const stopping = new AbortController();
  const tidying = everySlot({
    ...{ clock, intervalMs: limits.carriedImagesLookMs, signal: stopping.signal },
    onTick: () => desk.tidy(),
  });
  teardown.add('carried images', async () => {
    stopping.abort();
    await tidying;
  });
  const stopServing = await serveLocally({
    ...{ dataDir, outbox, holding, logger },
    missingImages: () => missingImages(agent.wanted, images),
    takeCarried: () => desk.take(),
  });
  teardown.add('local socket', stopServing);
}

/** Where archives of images are looked for that the engine does not have. */
function imagesDirOf(dataDir: string): string {
  return join(dataDir, 'images');
}

async function openQueue({ dataDir, outbox }: AgentSettings, identity: Identity, needs: Needs): Promise<Outbox> {
  const { clock, logger, teardown } = needs;
  const queue = await openOutbox({
    dir: join(dataDir, 'outbox'),
    author: identity.node,
    privateKey: identity.keys.privateKey,
    clock,
    maxBytes: outbox.maxBytes,
    reservedShare: limits.outboxReservedShare,
    logger,
  });
  teardown.add('outbox', () => queue.close());
  return queue;
}

interface Books {
  readonly node: string;
  readonly outbox: Outbox;
  readonly account: Account;
  readonly link: Link;
  readonly holding: HoldingBoard;
}

interface LinkNeeds {
  readonly outbox: Outbox;
  readonly mailbox: Mailbox;
  readonly forks: ForkDesk;
  readonly holding: HoldingBoard;
  readonly ca: string | undefined;
}

/** Elsewhere than where it was enrolled, as when it came by TLS since: what it has to prove is that it has the key of the log. */
function atAddress(pinned: Identity['collector'], url: string | undefined): Identity['collector'] {
  return url === undefined ? pinned : { ...pinned, url };
}

function connect({ node, keys, collector }: Identity, { mailbox, ...rest }: LinkNeeds, needs: Needs): Link {
  const { clock, random, logger, teardown } = needs;
  const link = startLink({ node, version, keys, collector, ...rest, receiver: mailbox, clock, random, logger });
  teardown.add('link', () => link.stop());
  return link;
}

/** What obeying orders takes. */
function orderNeeds(settings: AgentSettings, { engine, link }: OrderSources): OrderNeeds {
  const { dataDir, manifest } = settings;
  return {
    controlFor: (entry, wanted) => controlOf(settings, entry, wanted),
    make: containerMaker({ engine, imagesDir: imagesDirOf(dataDir) }),
    evidence: fsEvidence(join(dataDir, 'orders')),
    verifyApprovals: sshApprovals(manifest.allowedSigners, manifest.revokedSigners),
    trusted: () => link.trusted,
    cutOffMs: () => link.status().cutOffMs,
    connectedMs: () => link.status().connectedMs,
    random: randomBytes,
    sleep: async (ms, signal) => {
      await delay(ms, undefined, { signal });
    },
  };
}

interface OrderSources {
  readonly engine: Engine;
  readonly link: Link;
}

interface Watched {
  readonly agent: Agent;
  readonly nightly: Nightly | undefined;
  readonly server: Server;
  readonly status: () => AgentStatus;
}

/** The agent, not yet begun, and the server that shows how it is. */
async function watch(
  settings: AgentSettings,
  { node, outbox, account, link, holding }: Books,
  { clock, random, logger, notifier, teardown }: Needs,
): Promise<Watched> {
  let lastCycle: Cycle | undefined;
  const metrics = agentMetrics(() => status());
  const sources = { node, journal: account, clock, logger, onScan: metrics.storeScanned, onRead: metrics.recordsRead };
  const stores = storeWatchesOf(settings, sources);
  const engine = engineOf(settings);
  const agent = new Agent({
    node,
    about: { version, runtime: `node ${process.version}`, hostname: hostname() },
    engine,
    orders: orderNeeds(settings, { engine, link }),
    holding,
    desired: desiredSourceOf(settings, sources),
    stores,
    images: imageTagsOf(settings),
    disk: () => diskSpace(settings.dataDir),
    journal: account,
    clock,
    random,
    logger,
    scanIntervalMs: settings.scanIntervalMs,
    clockOffsetMs: () => link.status().clockOffsetMs,
    onCycle: (cycle) => {
      lastCycle = cycle;
      metrics.cycleDone(cycle);
      void notifier.watchdog();
    },
  });
  const status = () => agentStatus({ node, version, agent, link, outbox, stores, lastCycle: () => lastCycle });
  const server = await serveHttp({ ...settings.http, status, registry: metrics.registry });
  teardown.add('server', () => closeHttp(server));
  return { agent, nightly: nightlyOf(settings, stores, sources), server, status };
}
