import { once } from 'node:events';
import http from 'node:http';
import { afterEach } from 'node:test';
import type { ForkDesk, StandingFork } from '../agent/link/fork-desk.ts';
import { type Link, type LinkBounds, type LinkOptions, startLink } from '../agent/link/link.ts';
import type { ForkStatement } from '../agent/link/witness.ts';
import type { NodeKey, NodeKeys, SocketMetrics, Witnessing } from '../collector/ws/ports.ts';
import { attachSockets, type Sockets, type SocketsBounds, type SocketsOptions } from '../collector/ws/server.ts';
import type { Clock } from '../common/clock.ts';
import { fingerprint, generateKeyPair, type KeyPair } from '../common/keys.ts';
import type { Statement } from '../common/kinds.ts';
import { type Logger, logLevels } from '../common/log.ts';
import { type MemoryLedger, memoryLedger } from './fakes/ledger.ts';
import { type MemoryOutbox, memoryOutbox } from './fakes/outbox.ts';

/** Both ends of the wire on loopback: a real socket server over a ledger in memory, and agents to connect to it. */

export const systemClock: Clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

export interface LoggedEvent {
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export function recordingLogger(events: LoggedEvent[]): Logger {
  const say = (event: string, fields: object = {}): void => void events.push({ event, fields: { ...fields } });
  const [debug, info, warn, error] = logLevels.map(() => say);
  return { debug: debug ?? say, info: info ?? say, warn: warn ?? say, error: error ?? say };
}

export interface NodeTable extends NodeKeys {
  enrol(node: string, keys: KeyPair): void;
  revoke(node: string): void;
}

export function nodeTable(): NodeTable {
  const keys = new Map<string, NodeKey>();
  return {
    key: async (node) => keys.get(node),
    enrol: (node, { publicKey }) => keys.set(node, { publicKey, fingerprint: fingerprint(publicKey), revoked: false }),
    revoke: (node) => {
      const key = keys.get(node);
      if (key !== undefined) keys.set(node, { ...key, revoked: true });
    },
  };
}

export interface TestCollector {
  readonly ledger: MemoryLedger;
  readonly nodes: NodeTable;
  readonly sockets: Sockets;
  readonly events: LoggedEvent[];
  readonly refusals: string[];
  readonly counts: { opened: number; closed: number; acknowledged: number };
  port(): number;
  close(): Promise<void>;
}

export async function startCollector(
  options: {
    ledger?: MemoryLedger;
    nodes?: NodeTable;
    bounds?: Partial<SocketsBounds>;
    port?: number;
    rounds?: Witnessing;
  } & Pick<SocketsOptions, 'onOpen' | 'onAppended' | 'onHeld'> = {},
): Promise<TestCollector> {
  const { ledger = memoryLedger(), nodes = nodeTable(), bounds = {} } = options;
  const events: LoggedEvent[] = [];
  const refusals: string[] = [];
  const counts = { opened: 0, closed: 0, acknowledged: 0 };
  const metrics: SocketMetrics = {
    opened: () => {
      counts.opened += 1;
    },
    closed: () => {
      counts.closed += 1;
    },
    acknowledged: (entries) => {
      counts.acknowledged += entries;
    },
    refused: (code) => void refusals.push(code),
  };
  const server = http.createServer((_request, response) => response.writeHead(404).end());
  const logger = recordingLogger(events);
  const { port: _, ...others } = options;
  const sockets = attachSockets(server, { ...others, ledger, nodes, logger, clock: systemClock, metrics, bounds });
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  return {
    ...{ ledger, nodes, sockets, events, refusals, counts },
    port: () => portOf(server),
    close: async () => {
      await sockets.close();
      server.close();
      server.closeAllConnections();
    },
  };
}

export function portOf(server: http.Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return address.port;
}

export interface TestAgent {
  readonly keys: KeyPair;
  readonly outbox: MemoryOutbox;
  readonly link: Link;
  readonly events: LoggedEvent[];
  readonly forks: ForkStatement[];
}

export const quickBounds: Partial<LinkBounds> = {
  backoff: { minMs: 5, maxMs: 40 },
  releasePollMs: 20,
  cosignIntervalMs: 5,
};

/** Keeps forks in `kept`; nobody ever releases one. */
export function memoryForkDesk(kept: ForkStatement[]): ForkDesk {
  let standing: StandingFork | undefined;
  return {
    get standing() {
      return standing;
    },
    keep: async (fork) => {
      if (standing === undefined) kept.push(fork);
      standing ??= { id: 'fork-1', at: new Date(0).toISOString(), ...fork.body };
    },
    settle: async () => standing === undefined,
  };
}

export function startAgent(
  collector: Pick<TestCollector, 'ledger' | 'nodes'> & { port(): number },
  options: { node?: string; keys?: KeyPair; outbox?: MemoryOutbox; port?: number } & Partial<
    Pick<LinkOptions, 'clock' | 'bounds' | 'holding' | 'receiver'>
  > & { desk?: ForkDesk } = {},
): TestAgent {
  const { node = 'node1', keys = generateKeyPair() } = options;
  const outbox = options.outbox ?? memoryOutbox(node, keys.privateKey);
  const events: LoggedEvent[] = [];
  const forks: ForkStatement[] = [];
  const { origin, vkey } = collector.ledger;
  const link = startLink({
    collector: { url: `http://127.0.0.1:${options.port ?? collector.port()}`, origin, vkey },
    version: '0.1.0',
    forks: options.desk ?? memoryForkDesk(forks),
    clock: options.clock ?? systemClock,
    random: Math.random,
    logger: recordingLogger(events),
    bounds: { ...quickBounds, ...options.bounds },
    ...{ node, keys, outbox },
    ...(options.holding && { holding: options.holding }),
    ...(options.receiver && { receiver: options.receiver }),
  });
  return { keys, outbox, link, events, forks };
}

/** Some statement or other, of about `bytes` bytes. */
export function statement(number: number, bytes = 50): Statement {
  return { kind: 'drift.resolved', body: { id: `drift-${number}-${'x'.repeat(Math.min(bytes, 400))}`, commit: null } };
}

/** Both ends, each gone once the test that started it is over. */
export function wiresOfTests() {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  return {
    /** Called after the test, the last one first. */
    afterwards: (cleanup: () => Promise<unknown>): void => void cleanups.push(cleanup),
    collector: async (options: Parameters<typeof startCollector>[0] = {}): Promise<TestCollector> => {
      const started = await startCollector(options);
      cleanups.push(started.close);
      return started;
    },
    agent: (...given: Parameters<typeof startAgent>): TestAgent => {
      const started = startAgent(...given);
      cleanups.push(started.link.stop);
      return started;
    },
  };
}
