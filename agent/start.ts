import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import { version } from '../common/version.ts';
import { Agent, type Cycle } from './agent.ts';
import type { AgentSettings } from './config.ts';
import { serveHttp, urlOf } from './http.ts';
import { loadIdentity } from './identity.ts';
import { startLink } from './link.ts';
import { agentMetrics } from './metrics.ts';
import type { Notifier } from './notify.ts';
import { openOutbox } from './outbox/outbox.ts';
import { desiredSourceOf, engineOf, storeWatchesOf } from './sources.ts';
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
 * Wires the agent and starts it: identity, outbox, link, watching, and the local HTTP server.
 * @throws AppError `auth.required` when the node is not enrolled, `auth.key_file`, `state.conflict` (another agent is
 *   running on the same data directory or port)
 */
export async function startAgent(settings: AgentSettings, options: StartOptions): Promise<RunningAgent> {
  const { clock, random, logger, notifier } = options;
  const { node, keys, collector } = await loadIdentity(settings.dataDir);
  const outbox = await openOutbox({
    dir: join(settings.dataDir, 'outbox'),
    author: node,
    privateKey: keys.privateKey,
    clock,
    maxBytes: settings.outbox.maxBytes,
    reservedShare: limits.outboxReservedShare,
    logger,
  });
  const link = startLink({
    node,
    version,
    keys,
    collector,
    outbox,
    record: (statement) => outbox.append([statement]),
    clock,
    random,
    logger,
  });
  let lastCycle: Cycle | undefined;
  const metrics = agentMetrics(() => status());
  const sources = { node, journal: outbox, clock, logger, onScan: metrics.storeScanned };
  const stores = storeWatchesOf(settings, sources);
  const agent = new Agent({
    node,
    about: { version, runtime: `node ${process.version}`, hostname: hostname() },
    engine: engineOf(settings),
    desired: desiredSourceOf(settings, sources),
    stores,
    journal: outbox,
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
  outbox.onRecovered(() => agent.retell());
  const server = await serveHttp({ ...settings.http, status, registry: metrics.registry });
  await agent.start();
  await notifier.ready(`watching ${node}`);
  const stop = async () => {
    await notifier.stopping();
    await agent.stop();
    await link.stop();
    await outbox.close();
    server.close();
    server.closeAllConnections();
  };
  return { url: urlOf(server), status, stop };
}
