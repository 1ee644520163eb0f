import { randomBytes, randomUUID } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import pLimit from 'p-limit';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../../common/clock.ts';
import { AppError, type ErrorCode } from '../../common/errors.ts';
import { type VerifySignature, verifyBytesAsync } from '../../common/keys.ts';
import type { Kind } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import {
  chosenProtocol,
  protocolMismatch,
  protocolName,
  spokenProtocols,
  versionHeader,
} from '../../common/negotiation.ts';
import { type Holding, socketPath } from '../../common/protocol.ts';
import { version } from '../../common/version.ts';
import type { MeasureCarrier, MeasureDispatch } from '../enforcement/measure-ports.ts';
import type { OrderCarrier, OrderDispatch } from '../enforcement/ports.ts';
import { closeSocket, type Identified, type Peer, type PeerBounds, type PeerOptions, servePeer } from './peer.ts';
import type { NodeKeys, RoundCheckpoint, SessionLedger, SocketMetrics, Witnessing } from './ports.ts';
import { createRegistry } from './registry.ts';
import { createAgentSession } from './session.ts';
import { createNodeRate, type NodeRate } from './token-bucket.ts';
import { offeredProtocols, pathOf, turnAway, type Upgrade } from './upgrade.ts';
import { createVerifier } from './verify.ts';

export interface SocketsOptions {
  readonly ledger: SessionLedger;
  readonly nodes: NodeKeys;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Checks what entries are signed with; on the thread pool unless said otherwise. */
  readonly verifySignature?: VerifySignature;
  readonly metrics?: SocketMetrics;
  /** Who gathers cosignatures; without it none are asked for. */
  readonly rounds?: Witnessing;
  /** Hears what kinds of entries a node's batch was of, once it is committed and before its ack leaves. Must not throw. */
  readonly onAppended?: (node: string, kinds: readonly Kind[]) => void;
  /** Hears of every node whose session has opened. Must not throw. */
  readonly onOpen?: (node: string) => void;
  /** Hears what a node says it has of the desired state. Must not throw. */
  readonly onHeld?: (node: string, holding: Holding) => void;
  /** Who takes upgrades of other paths; without one of them they are turned away. */
  readonly entrances?: ReadonlyMap<string, Upgrade>;
  /** Whether a request came over a connection that is one too many. */
  readonly isCrowded?: (request: IncomingMessage) => boolean;
  readonly bounds?: Partial<SocketsBounds>;
}

export interface SocketsBounds extends PeerBounds {
  readonly maxUnauthenticatedSockets: number;
  readonly maxEntriesPerSecondPerNode: number;
  readonly entryBurst: number;
  readonly maxExcessBytesPerSecondPerNode: number;
  readonly excessBurstBytes: number;
}

/** One node's session, as operators see it. */
export interface SessionInfo {
  readonly node: string;
  /** Of the key it proved. */
  readonly fingerprint: string;
  readonly version: string;
  readonly remote: string;
  /** Unix milliseconds. */
  readonly sinceMs: number;
}

export interface Sockets {
  /** Cuts a node off at once, when its key was revoked. */
  disconnect(node: string, reason: string): void;
  sessions(): readonly SessionInfo[];
  /** Asks every agent that is connected to cosign. */
  offer(checkpoint: RoundCheckpoint): void;
  /** The way of orders to the nodes that are connected here. */
  readonly orders: OrderCarrier;
  /** The way of what holds orders back. */
  readonly measures: MeasureCarrier;
  /**
   * Hands a node a git bundle with the commit it is to look at.
   * @returns false when it has no open session here, or the bundle is larger than `limits.maxOfferedBundleBytes`.
   */
  sendDesired(node: string, commit: string, bundle: Buffer): boolean;
  /** Takes no more sockets and ends those there are. Resolves when the last one is closed. */
  close(): Promise<void>;
}

const defaultBounds: SocketsBounds = {
  handshakeTimeoutMs: limits.handshakeTimeoutMs,
  incumbentProbeMs: limits.incumbentProbeMs,
  sendTimeoutMs: limits.sendTimeoutMs,
  pingIntervalMs: limits.pingIntervalMs,
  pongTimeoutMs: limits.pongTimeoutMs,
  maxUnauthenticatedSockets: limits.maxUnauthenticatedSockets,
  maxEntriesPerSecondPerNode: limits.maxEntriesPerSecondPerNode,
  entryBurst: limits.maxEntriesPerSecondPerNode * limits.entryBurstSeconds,
  maxExcessBytesPerSecondPerNode: limits.maxExcessBytesPerSecondPerNode,
  excessBurstBytes: limits.excessBurstBytes,
};

const noMetrics: SocketMetrics = { opened: () => {}, closed: () => {}, refused: () => {}, acknowledged: () => {} };
const noRounds: Witnessing = {
  forming: undefined,
  missed: () => {},
  cosigned: async () => {},
  forked: async () => {},
};

const noEntrances: ReadonlyMap<string, Upgrade> = new Map();

/** Serves the agents' sockets on `httpServer`, and hands upgrades of other paths to `entrances`. All others are turned away. */
export function attachSockets(httpServer: Server, options: SocketsOptions): Sockets {
  const bounds = { ...defaultBounds, ...options.bounds };
  const { metrics = noMetrics, rounds = noRounds, verifySignature = verifyBytesAsync } = options;
  const { onAppended = () => {}, onOpen = () => {}, onHeld = () => {}, entrances = noEntrances } = options;
  const { isCrowded = () => false } = options;
  const fleet = createFleet({ ...options, metrics, rounds, verifySignature, onAppended, onOpen, onHeld, bounds });
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.maxFrameBytes,
    maxFragments: limits.maxFrameFragments,
    handleProtocols: (offered) => {
      const chosen = chosenProtocol([...offered]);
      return chosen === undefined ? false : protocolName(chosen);
    },
  });
  webSockets.on('headers', (headers) => headers.push(`${versionHeader}: ${version}`));
  let closing = false;

  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const elsewhere = entrances.get(pathOf(request));
    if (elsewhere !== undefined) {
      elsewhere(request, socket, head);
      return;
    }
    const isBusy = closing || isCrowded(request);
    const problem = misdirected(request) ?? (isBusy ? turnAways.busy : undefined);
    const remote = request.socket.remoteAddress ?? 'unknown';
    if (problem === undefined) {
      webSockets.handleUpgrade(request, socket, head, (webSocket) => fleet.serve(webSocket, remote, socket));
      return;
    }
    fleet.turnedAway(remote, problem);
    const { status, code, message } = problem;
    const body = { error_code: code, message, details: {}, request_id: randomUUID() };
    turnAway(socket, { status, body, headers: [[versionHeader, version]] });
  };
  httpServer.on('upgrade', onUpgrade);
  const checkEveryMs = Math.min(1_000, bounds.pingIntervalMs / 4, bounds.pongTimeoutMs / 4);
  const checks = setInterval(fleet.checkLiveness, checkEveryMs);

  return {
    disconnect: fleet.disconnect,
    sessions: fleet.sessions,
    offer: fleet.offer,
    orders: fleet.orders,
    measures: fleet.measures,
    sendDesired: fleet.sendDesired,
    close: async () => {
      closing = true;
      clearInterval(checks);
      await fleet.close();
      httpServer.off('upgrade', onUpgrade);
    },
  };
}

type FleetOptions = Required<Omit<SocketsOptions, 'bounds' | 'entrances' | 'isCrowded'>> & {
  readonly bounds: SocketsBounds;
};

/** All sockets there are, proved or not. */
function createFleet(options: FleetOptions) {
  const { bounds, clock, logger, metrics } = options;
  const registry = createRegistry<Peer>();
  const peers = new Map<Peer, WebSocket>();
  /** Those that have proved no key, in the order they came. */
  const strangers = new Set<Peer>();
  const shared = {
    ...options,
    rateOf: createRates(bounds, clock),
    verify: createVerifier(options.verifySignature),
    turns: { prove: pLimit(limits.proofsAtOnce), welcome: pLimit(limits.welcomesAtOnce) },
    random: Math.random,
  };

  const onClosed = (peer: Peer): void => {
    peers.delete(peer);
    strangers.delete(peer);
    if (peer.identified === undefined) return;
    registry.release(peer.identified.node, peer);
    metrics.closed(peer.identified.version);
  };
  const claim = async ({ node, fingerprint, version }: Identified, peer: Peer): Promise<void> => {
    await registry.claim(node, peer);
    peer.identify({ node, fingerprint, version });
    strangers.delete(peer);
    metrics.opened(version);
    logger.info('session.opened', { remote: peer.remote, node, version });
  };
  /** At once: a stranger need not answer a closing handshake, and others wait for the place. */
  const sendAway = (stranger: Peer, error: AppError): void => {
    strangers.delete(stranger);
    stranger.end(error);
    peers.get(stranger)?.terminate();
  };
  const makeRoom = (): void => {
    for (const peer of strangers) if (peer.over) strangers.delete(peer);
    const oldest = strangers.size > bounds.maxUnauthenticatedSockets ? longestWaiting(strangers) : undefined;
    if (oldest !== undefined) sendAway(oldest, crowded());
  };
  /** Also what belongs to a frame that has not ended, which nobody else hears of before it does. */
  const limitBytes = (stranger: Peer, connection: Duplex): void => {
    let bytes = 0;
    const count = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (!strangers.has(stranger)) connection.off('data', count);
      else if (bytes > limits.maxStrangerBytes) sendAway(stranger, talkative());
    };
    connection.on('data', count);
  };
  const openNodes = (): string[] => [...registry.all()].flatMap(([node, peer]) => (peer.open ? [node] : []));
  /** The claim came before the session opened, so that it is known who is there. */
  const nodeOf = (peer: Peer): string => peer.identified?.node ?? '';
  const session: PeerOptions['session'] = (io, peer) =>
    createAgentSession({
      ...shared,
      ...io,
      nonce: randomBytes(nonceBytes),
      claim: (hello) => claim(hello, peer),
      acknowledged: (entries, tookMs) => metrics.acknowledged(entries, tookMs / 1_000),
      appended: (kinds) => options.onAppended(nodeOf(peer), kinds),
      opened: () => options.onOpen(nodeOf(peer)),
      held: (holding) => options.onHeld(nodeOf(peer), holding),
    });

  return {
    serve: (socket: WebSocket, remote: string, connection: Duplex): void => {
      const stranger = servePeer({ socket, remote, bounds, clock, logger, metrics, session, onClosed });
      peers.set(stranger, socket);
      strangers.add(stranger);
      limitBytes(stranger, connection);
      if (strangers.size > bounds.maxUnauthenticatedSockets) makeRoom();
    },
    turnedAway: (remote: string, { status, code }: TurnAway): void => {
      metrics.refused(code);
      logger.warn('session.turned_away', { remote, code, status });
    },
    checkLiveness: (): void => {
      for (const peer of peers.keys()) peer.checkLiveness();
    },
    disconnect: (node: string, reason: string): void => registry.of(node)?.end(new AppError('auth.revoked', reason)),
    offer: (checkpoint: RoundCheckpoint): void => {
      for (const peer of registry.all().values()) peer.offer(checkpoint);
    },
    orders: {
      nodes: openNodes,
      send: (node: string, dispatch: OrderDispatch): boolean => registry.of(node)?.order(dispatch) ?? false,
    },
    measures: {
      nodes: openNodes,
      tell: (node: string, dispatch: MeasureDispatch): boolean => registry.of(node)?.measure(dispatch) ?? false,
      measured: (node: string, all: boolean): boolean => registry.of(node)?.measured(all) ?? false,
    },
    sendDesired: (node: string, commit: string, bundle: Buffer): boolean =>
      registry.of(node)?.desired(commit, bundle) ?? false,
    sessions: (): SessionInfo[] => [...registry.all().values()].flatMap(sessionInfo),
    close: async (): Promise<void> => {
      await Promise.all([...peers.values()].map(goodbye));
    },
  };
}

/**
 * The oldest of the address that holds the most. Refusing newcomers instead would let anybody lock all agents out with a
 * few silent sockets; a handshake takes milliseconds, so an agent is through before its turn to go comes.
 */
function longestWaiting(strangers: ReadonlySet<Peer>): Peer | undefined {
  const held = new Map<string, { readonly first: Peer; count: number }>();
  for (const peer of strangers) {
    const crowd = held.get(peer.remote);
    if (crowd === undefined) held.set(peer.remote, { first: peer, count: 1 });
    else crowd.count += 1;
  }
  const [crowd] = [...held.values()].sort((a, b) => b.count - a.count);
  return crowd?.first;
}

function crowded(): AppError {
  const why = 'too many connections have proved no key yet; this one waited longest';
  return new AppError('rate_limit.exceeded', why, { retryable: true });
}

function talkative(): AppError {
  return new AppError('validation.protocol', `more than ${limits.maxStrangerBytes} bytes before a key was proved`);
}

const nonceBytes = 32;

function sessionInfo({ identified, remote, sinceMs }: Peer): SessionInfo[] {
  return identified === undefined ? [] : [{ ...identified, remote, sinceMs }];
}

/** One rate limit per node, kept across its sessions; there are no more of them than enrolled nodes. */
function createRates(bounds: SocketsBounds, clock: Clock): (node: string) => NodeRate {
  const rates = new Map<string, NodeRate>();
  const limit = {
    entries: { perSecond: bounds.maxEntriesPerSecondPerNode, burst: bounds.entryBurst },
    excessBytes: { perSecond: bounds.maxExcessBytesPerSecondPerNode, burst: bounds.excessBurstBytes },
    freeBytesPerEntry: limits.freeFrameBytesPerEntry,
  };
  return (node) => {
    const rate = rates.get(node) ?? createNodeRate(limit, clock.monotonicMs());
    rates.set(node, rate);
    return rate;
  };
}

interface TurnAway {
  readonly status: string;
  readonly code: ErrorCode;
  readonly message: string;
}

const turnAways = {
  path: { status: '404 Not Found', code: 'resource.not_found', message: 'there is no socket at this path' },
  busy: {
    status: '503 Service Unavailable',
    code: 'state.busy',
    message: 'the collector has as many connections as it takes, or is stopping; come again later',
  },
} as const satisfies Record<string, TurnAway>;

function misdirected(request: IncomingMessage): TurnAway | undefined {
  if (pathOf(request) !== socketPath) return turnAways.path;
  const offered = offeredProtocols(request);
  if (chosenProtocol(offered) !== undefined) return undefined;
  const { code, message } = protocolMismatch(offered, { spoken: spokenProtocols, version });
  return { status: '400 Bad Request', code, message };
}

/** 1001: going away. Resolves once the socket is closed. */
function goodbye(socket: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    closeSocket(socket, 1001, 'the collector is stopping');
  });
}
