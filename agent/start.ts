import { randomBytes } from 'node:crypto';
import type { Server } from 'node:http';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../common/clock.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import { createTeardown, type Teardown } from '../common/teardown.ts';
import { version } from '../common/version.ts';
import { Account } from './account.ts';
import { Agent, type OrderNeeds } from './agent.ts';
import type { AgentSettings } from './config.ts';
import type { Cycle } from './coverage-account.ts';
import { diskSpace } from './disk.ts';
import type { Engine } from './docker/engine.ts';
import { type ForkDesk, openForkDesk } from './fork-desk.ts';
import { createHoldingBoard, type HoldingBoard } from './holding.ts';
import { closeHttp, serveHttp, urlOf } from './http.ts';
import { ensureDataDir, type Identity, loadIdentity } from './identity.ts';
import type { Nightly } from './integrity/nightly.ts';
import { type Link, startLink } from './link.ts';
import { createMailbox, type Mailbox } from './mailbox.ts';
import { agentMetrics } from './metrics.ts';
import type { Notifier } from './notify.ts';
import { sshApprovals } from './orders/approvers.ts';
import { fsEvidence } from './orders/evidence.ts';
import { containerMaker } from './orders/make.ts';
import { type Outbox, openOutbox } from './outbox/outbox.ts';
import { controlOf, desiredSourceOf, engineOf, imageTagsOf, nightlyOf, storeWatchesOf } from './sources.ts';
import { type AgentStatus, agentStatus } from './status.ts';

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
 *   that cannot be written), `state.conflict` (another agent is running on the same data directory or port),
 *   `outbox.write_failed` or `outbox.full` when the disk does not serve
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
  const outbox = await openQueue(settings, identity, needs);
  const account = new Account(outbox);
  const forks = await openForkDesk({ dataDir: settings.dataDir, journal: account, ...needs });
  const mailbox = createMailbox();
  const holding = createHoldingBoard();
  const link = connect(identity, { outbox, forks, mailbox, holding }, needs);
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
    order: (issued) => agent.obey(issued),
    measure: (word) => agent.heed(word),
    bundle: (commit, bundle) => agent.offer(commit, bundle),
  });
  await notifier.ready(`watching ${identity.node}`);
  const stop = async () => {
    await notifier.stopping();
    await teardown.run();
  };
  return { url: urlOf(server), status, stop };
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
    make: containerMaker({ engine, imagesDir: join(dataDir, 'images') }),
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
