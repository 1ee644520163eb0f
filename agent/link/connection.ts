import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import type { KeyPair } from '../../common/keys.ts';
import { misunderstood } from '../../common/negotiation.ts';
import { collectorMessage, parseMessage } from '../../common/protocol.ts';
import type { HoldingBoard } from '../desired/holding.ts';
import type { LinkOutbox } from '../ports.ts';
import type { Receiver } from './mailbox.ts';
import { type Cosigned, createLinkSession, type LinkSession, type SessionBounds } from './session.ts';
import { type Agreed, openSocket, type SocketBounds } from './socket.ts';
import type { ForkStatement, Witness } from './witness.ts';

export interface ConnectionBounds extends SocketBounds, SessionBounds {
  readonly ackTimeoutMs: number;
}

/** A connection that stands, as the agent shows it. */
export interface Welcomed {
  readonly clockOffsetMs: number | undefined;
  readonly collector: Agreed;
}

export interface ConnectionContext {
  readonly node: string;
  readonly version: string;
  readonly keys: KeyPair;
  readonly url: URL;
  readonly ca?: string | undefined;
  /** The log this node is enrolled with. */
  readonly origin: string;
  readonly outbox: LinkOutbox;
  readonly clock: Clock;
  readonly bounds: ConnectionBounds;
  /** Ends the connection politely. */
  readonly signal: AbortSignal;
  readonly onWelcome: (welcomed: Welcomed) => void;
  readonly onCosigned: (cosigned: Cosigned) => void;
  /** Key of the log. */
  readonly collectorKey: KeyObject;
  readonly receiver: Receiver;
  readonly holding?: HoldingBoard;
  /** Makes the evidence of a fork durable. */
  readonly keepFork: (fork: ForkStatement) => Promise<void>;
}

const checkIntervalMs = 1_000;

export interface EndedConnection {
  readonly error: AppError;
  /** Whether it was good for something, so that the next attempt need not wait long. */
  readonly progressed: boolean;
}

/** One connection, from the first packet to its end, however it ends. Never rejects. */
export function holdConnection(context: ConnectionContext, witness: Witness): Promise<EndedConnection> {
  const { bounds, clock, outbox, signal } = context;
  const startedMs = clock.monotonicMs();
  const running = new Set<Promise<unknown>>();
  const { promise: over, resolve } = withResolvers<unknown>();
  let ended = false;
  let agreed: Agreed = { protocol: '', version: undefined };
  const end = (thrown: unknown): void => {
    ended = true;
    resolve(thrown);
  };
  /** Work on the outbox that must have settled before the next connection uses it. */
  const track = <T>(work: Promise<T>): Promise<T> => {
    running.add(work);
    const forget = (): unknown => running.delete(work);
    work.then(forget, forget);
    return work;
  };
  const session = createLinkSession({
    ...context,
    witness,
    send: (message) => socket.send(JSON.stringify(message)),
  });
  const pump = (): void => {
    if (!ended) track(session.pump()).catch(end);
  };
  const handle = async (frame: string): Promise<void> => {
    if (ended) return;
    const before = session.streaming;
    await track(session.receive(parseMessage(collectorMessage, frame)));
    if (!before && session.streaming) context.onWelcome({ clockOffsetMs: session.clockOffsetMs, collector: agreed });
    pump();
  };
  const socket = openSocket({
    url: context.url,
    ca: context.ca,
    bounds,
    clock,
    handle,
    onOver: end,
    onOpen: (met) => {
      agreed = met;
      session.greet().catch(end);
    },
  });
  const check = setInterval(
    () => {
      const late = lateness(session, clock.monotonicMs(), { startedMs, ...bounds });
      if (late === undefined) socket.checkLiveness();
      else end(new AppError('collector.unreachable', late, { retryable: true }));
    },
    Math.min(checkIntervalMs, bounds.ackTimeoutMs / 4, bounds.pingIntervalMs / 4, bounds.pongTimeoutMs / 4),
  );
  const stopListening = outbox.onAppended(pump);
  const stopTelling = context.holding?.onChange(() => {
    if (!ended) track(session.tellHolding()).catch(end);
  });
  const stop = (): void => end(new AppError('collector.unreachable', 'the agent is stopping'));
  signal.addEventListener('abort', stop, { once: true });

  return over.then(async (thrown) => {
    clearInterval(check);
    stopListening();
    stopTelling?.();
    signal.removeEventListener('abort', stop);
    if (signal.aborted) socket.close();
    else socket.cut();
    await Promise.allSettled(running);
    const lived = session.streaming && clock.monotonicMs() - startedMs >= bounds.pingIntervalMs;
    const error = misunderstood(toAppError(thrown), { role: 'collector', version: agreed.version });
    return { error, progressed: lived || session.acks > 0 };
  });
}

/** What the collector is too late with, if anything. */
function lateness(
  session: LinkSession,
  nowMs: number,
  { startedMs, handshakeTimeoutMs, ackTimeoutMs }: ConnectionBounds & { readonly startedMs: number },
): string | undefined {
  if (!session.streaming && nowMs - startedMs > handshakeTimeoutMs) return `no welcome within ${handshakeTimeoutMs} ms`;
  const { awaitingSinceMs } = session;
  if (awaitingSinceMs !== undefined && nowMs - awaitingSinceMs > ackTimeoutMs)
    return `no ack within ${ackTimeoutMs} ms`;
  return undefined;
}

/** As `Promise.withResolvers`, which Node 20 does not have. */
function withResolvers<T>() {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
