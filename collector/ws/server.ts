import { randomBytes } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../../common/clock.ts';
import { AppError, type ErrorCode } from '../../common/errors.ts';
import { type VerifySignature, verifyBytesAsync } from '../../common/keys.ts';
import type { Kind } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { type Holding, socketPath, subprotocol } from '../../common/protocol.ts';
import type { MeasureCarrier, MeasureDispatch } from '../enforcement/measure-ports.ts';
import type { OrderCarrier, OrderDispatch } from '../enforcement/ports.ts';
import { closeSocket, type Identified, type Peer, type PeerBounds, type PeerOptions, servePeer } from './peer.ts';
import type { NodeKeys, RoundCheckpoint, SessionLedger, SocketMetrics, Witnessing } from './ports.ts';
import { createRegistry } from './registry.ts';
import { createAgentSession } from './session.ts';
import { createNodeRate, type NodeRate } from './token-bucket.ts';
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

/** Serves the agents' sockets on `httpServer`. Every other upgrade is turned away. */
export function attachSockets(httpServer: Server, options: SocketsOptions): Sockets {
  const bounds = { ...defaultBounds, ...options.bounds };
  const { metrics = noMetrics, rounds = noRounds, verifySignature = verifyBytesAsync } = options;
  const { onAppended = () => {}, onOpen = () => {}, onHeld = () => {} } = options;
  const fleet = createFleet({ ...options, metrics, rounds, verifySignature, onAppended, onOpen, onHeld, bounds });
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.maxFrameBytes,
    maxFragments: limits.maxFrameFragments,
    handleProtocols: () => subprotocol,
  });
  let closing = false;

  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const problem = misdirected(request) ?? (closing ? turnAways.closing : undefined);
    const remote = request.socket.remoteAddress ?? 'unknown';
    if (problem === undefined) {
      webSockets.handleUpgrade(request, socket, head, (webSocket) => fleet.serve(webSocket, remote));
      return;
    }
    fleet.turnedAway(remote, problem);
    turnAway(socket, problem);
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

type FleetOptions = Required<Omit<SocketsOptions, 'bounds'>> & { readonly bounds: SocketsBounds };

/** All sockets there are, proved or not. */
function createFleet(options: FleetOptions) {
  const { bounds, clock, logger, metrics } = options;
  const registry = createRegistry<Peer>();
  const peers = new Map<Peer, WebSocket>();
  const shared = {
    ...options,
    rateOf: createRates(bounds, clock),
    verify: createVerifier(options.verifySignature),
    random: Math.random,
  };

  const onClosed = (peer: Peer): void => {
    peers.delete(peer);
    if (peer.identified === undefined) return;
    registry.release(peer.identified.node, peer);
    metrics.closed();
  };
  const claim = async ({ node, fingerprint, version }: Identified, peer: Peer): Promise<void> => {
    await registry.claim(node, peer);
    peer.identify({ node, fingerprint, version });
    metrics.opened();
    logger.info('session.opened', { remote: peer.remote, node, version });
  };
  /** At once: a stranger need not answer a closing handshake, and others wait for the place. */
  const sendAway = (stranger: Peer | undefined): void => {
    const why = 'too many connections have proved no key yet; this one waited longest';
    stranger?.end(new AppError('rate_limit.exceeded', why, { retryable: true }));
    if (stranger !== undefined) peers.get(stranger)?.terminate();
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
    serve: (socket: WebSocket, remote: string): void => {
      peers.set(servePeer({ socket, remote, bounds, clock, logger, metrics, session, onClosed }), socket);
      const strangers = [...peers.keys()].filter((peer) => peer.identified === undefined && !peer.over);
      if (strangers.length > bounds.maxUnauthenticatedSockets) sendAway(longestWaiting(strangers));
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
function longestWaiting(strangers: readonly Peer[]): Peer | undefined {
  const held = new Map<string, Peer[]>();
  for (const peer of strangers) held.set(peer.remote, [...(held.get(peer.remote) ?? []), peer]);
  const [crowd] = [...held.values()].sort((a, b) => b.length - a.length);
  return crowd?.[0];
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
}

const turnAways = {
  path: { status: '404 Not Found', code: 'resource.not_found' },
  protocol: { status: '400 Bad Request', code: 'validation.protocol' },
  closing: { status: '503 Service Unavailable', code: 'state.busy' },
} as const satisfies Record<string, TurnAway>;

function misdirected({ url, headers }: IncomingMessage): TurnAway | undefined {
  if (url?.split('?')[0] !== socketPath) return turnAways.path;
  const offered = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim());
  return offered?.includes(subprotocol) ? undefined : turnAways.protocol;
}

function turnAway(socket: Duplex, { status }: TurnAway): void {
  socket.on('error', () => {});
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n`);
  socket.once('finish', () => socket.destroy());
}

/** 1001: going away. Resolves once the socket is closed. */
function goodbye(socket: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    closeSocket(socket, 1001, 'the collector is stopping');
  });
}
