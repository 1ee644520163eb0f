import { setTimeout as delay } from 'node:timers/promises';
import type { RawData, WebSocket } from 'ws';
import type { Clock } from '../../common/clock.ts';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import { createInbox } from '../../common/inbox.ts';
import { limits } from '../../common/limits.ts';
import { createLiveness, type LivenessBounds } from '../../common/liveness.ts';
import type { Logger } from '../../common/log.ts';
import { misunderstood } from '../../common/negotiation.ts';
import type { CollectorMessage } from '../../common/protocol.ts';
import type { MeasureDispatch } from '../enforcement/measure-ports.ts';
import type { OrderDispatch } from '../enforcement/ports.ts';
import type { RoundCheckpoint, SocketMetrics } from './ports.ts';
import { closeCodeOf, refusalOf } from './refusal.ts';
import type { Speaker } from './registry.ts';
import type { AgentSession, AgentSessionOptions, Frame } from './session.ts';

export interface PeerBounds extends LivenessBounds {
  readonly handshakeTimeoutMs: number;
  readonly incumbentProbeMs: number;
  readonly sendTimeoutMs: number;
}

/** Who is at the other end, once the hello has been proved. */
export interface Identified {
  readonly node: string;
  /** Of the key it proved. */
  readonly fingerprint: string;
  readonly version: string;
}

export interface PeerOptions {
  readonly socket: WebSocket;
  /** Address of the other end, for the log. */
  readonly remote: string;
  readonly bounds: PeerBounds;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: SocketMetrics;
  /** The protocol on top of this socket. */
  readonly session: (io: Pick<AgentSessionOptions, 'send' | 'sleep' | 'over' | 'fail'>, peer: Peer) => AgentSession;
  readonly onClosed: (peer: Peer) => void;
}

/** One agent's socket: frames in and out, one at a time, and every way it can end. */
export interface Peer extends Speaker {
  readonly remote: string;
  /** Unix milliseconds. */
  readonly sinceMs: number;
  readonly identified: Identified | undefined;
  /** Past the handshake, and not ended. */
  readonly open: boolean;
  identify(who: Identified): void;
  /** Asks the agent to cosign, if it is past the handshake. */
  offer(checkpoint: RoundCheckpoint): void;
  /** Sends an order with its proof. @returns false when that is not possible now. */
  order(dispatch: OrderDispatch): boolean;
  /** Sends a measure with its proof, or says how far they have been told. @returns false when that is not possible now. */
  measure(dispatch: MeasureDispatch): boolean;
  measured(all: boolean): boolean;
  /** Hands over a git bundle. @returns false when that is not possible now, or ever. */
  desired(commit: string, bundle: Buffer): boolean;
  /** Pings a silent agent, or gives it up. To be called every now and then. */
  checkLiveness(): void;
  /** Ends the session: says why, closes, and cuts what does not close. Only the first call counts. */
  end(error: AppError): void;
}

export function servePeer(options: PeerOptions): Peer {
  const { socket, remote, bounds, clock, logger, metrics, onClosed } = options;
  const gone = new AbortController();
  const liveness = createLiveness(bounds, clock.monotonicMs());
  let heardCount = 0;
  let over = false;
  let identified: Identified | undefined;

  const heard = (): void => {
    heardCount += 1;
    liveness.heard(clock.monotonicMs());
  };
  const end = (error: AppError): void => {
    if (over) return;
    over = true;
    gone.abort();
    const refusal = refusalOf(error);
    metrics.refused(error.code);
    const about = { remote, node: identified?.node, code: error.code };
    // A stack only for faults of ours: the other side can cause the rest as often as it likes.
    if (error.code === 'internal.error') logger.error('session.refused', { ...about, error });
    else logger.warn('session.refused', { ...about, message: error.message });
    socket.send(JSON.stringify(refusal), () => {});
    closeSocket(socket, closeCodeOf(refusal), error.code);
  };
  // An agent that went ahead of us is told to wait for our upgrade, not that it talks nonsense.
  const fail = (thrown: unknown): void =>
    end(misunderstood(toAppError(thrown), { role: 'agent', version: identified?.version }));

  const peer: Peer = {
    remote,
    sinceMs: clock.now(),
    get over() {
      return over || socket.readyState !== socket.OPEN;
    },
    get identified() {
      return identified;
    },
    get open() {
      return !peer.over && session.open;
    },
    identify: (who) => {
      identified = who;
    },
    offer: (checkpoint) => {
      if (!peer.over) session.offer(checkpoint);
    },
    order: (dispatch) => !peer.over && session.order(dispatch),
    measure: (dispatch) => !peer.over && session.measure(dispatch),
    measured: (all) => !peer.over && session.measured(all),
    desired: (commit, bundle) => !peer.over && session.desired(commit, bundle),
    end,
    isAlive: async () => {
      const before = heardCount;
      if (peer.over) return false;
      socket.ping();
      const deadlineMs = clock.monotonicMs() + bounds.incumbentProbeMs;
      while (heardCount === before && !peer.over && clock.monotonicMs() < deadlineMs) await delay(probeStepMs);
      // A socket that we do not read from cannot answer; that is our doing, not its.
      return !peer.over && (heardCount > before || socket.isPaused);
    },
    checkLiveness: () => {
      if (peer.over || socket.isPaused) return;
      const verdict = liveness.check(clock.monotonicMs());
      if (verdict === 'ping') socket.ping();
      if (verdict === 'dead') end(new AppError('collector.unreachable', 'no sign of life', { retryable: true }));
    },
  };
  const sleep = (ms: number): Promise<void> => delay(ms, undefined, { signal: gone.signal }).catch(() => {});
  const send = (message: CollectorMessage): Promise<void> => sendWithin(socket, message, bounds.sendTimeoutMs);
  const session = options.session({ send, sleep, over: () => peer.over, fail }, peer);
  const inbox = createInbox<Frame>({
    source: {
      pause: () => socket.pause(),
      resume: () => {
        // Nothing could be heard during the pause.
        liveness.heard(clock.monotonicMs());
        socket.resume();
      },
    },
    handle: async (frame) => {
      if (!over) await session.receive(frame);
    },
    fail,
  });

  const handshake = setTimeout(() => {
    if (!session.proofSent)
      end(new AppError('auth.required', `no proof of a key within ${bounds.handshakeTimeoutMs} ms`));
  }, bounds.handshakeTimeoutMs);
  socket.on('message', (data: RawData, isBinary: boolean) => {
    heard();
    if (over) return;
    if (isBinary) end(new AppError('validation.protocol', 'binary frames are not part of this protocol'));
    else inbox({ text: data.toString(), receivedMs: clock.monotonicMs() });
  });
  socket.on('ping', heard);
  socket.on('pong', heard);
  socket.on('error', (cause) => {
    // Frames that ws itself refuses: too large, too fragmented, not UTF-8, not WebSocket at all.
    if (errnoOf(cause)?.startsWith('WS_ERR_')) end(new AppError('validation.protocol', cause.message, { cause }));
  });
  socket.on('close', (closeCode) => {
    over = true;
    gone.abort();
    clearTimeout(handshake);
    logger.info('session.closed', { remote, node: identified?.node, closeCode });
    onClosed(peer);
  });
  return peer;
}

const probeStepMs = 10;

/** Closes politely, for at most `limits.closeTimeoutMs`. */
export function closeSocket(socket: WebSocket, code: number, reason: string): void {
  socket.close(code, reason);
  // A paused socket would never see the answer.
  socket.resume();
  const cut = setTimeout(() => socket.terminate(), limits.closeTimeoutMs);
  socket.once('close', () => clearTimeout(cut));
}

/** @throws AppError `collector.unreachable` when the frame does not leave in time: the other side does not read. */
function sendWithin(socket: WebSocket, message: CollectorMessage, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const unsent = (why: string, cause?: unknown): void =>
      reject(new AppError('collector.unreachable', `cannot send to the agent: ${why}`, { retryable: true, cause }));
    const timer = setTimeout(() => unsent(`it has not read for ${timeoutMs} ms`), timeoutMs);
    socket.send(JSON.stringify(message), (cause) => {
      clearTimeout(timer);
      if (cause) unsent(cause.message, cause);
      else resolve();
    });
  });
}
