import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { eventsSubprotocol, type LastNote, type SubscriberMessage, subscriberMessage } from '../events/messages.ts';
import type { EventStream } from '../events/streams.ts';
import type { Item } from '../events/subscription.ts';
import { closeSocket } from './peer.ts';
import { createTokenBucket, type TokenBucket } from './token-bucket.ts';
import { answerUpgrade, type Upgrade } from './upgrade.ts';

/** What becomes of a request for a socket: the stream it is to carry, or how it is refused. */
export interface Entered {
  /** Undefined where it is refused. Whoever gets it closes it. */
  readonly stream: EventStream | undefined;
  /** The refusal; beside a stream its headers are said with the socket. */
  readonly answer: Response;
}

/** Lets in whoever the route of live events lets in. */
export type Enter = (request: IncomingMessage) => Promise<Entered>;

export interface LiveOptions {
  readonly enter: Enter;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Live {
  readonly upgrade: Upgrade;
  /** Resolves when the last socket is closed. Streams are ended elsewhere. */
  close(): Promise<void>;
}

/** Live events over WebSocket: one socket, one subscription. */
export function createLive({ enter, clock, logger }: LiveOptions): Live {
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    perMessageDeflate: false,
    maxPayload: limits.maxEventMessageBytes,
    maxFragments: limits.maxFrameFragments,
    handleProtocols: () => eventsSubprotocol,
  });
  const said = new WeakMap<IncomingMessage, Headers>();
  webSockets.on('headers', (lines, request) => {
    for (const [name, value] of said.get(request) ?? []) lines.push(`${name}: ${value}`);
  });

  const take = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    // Whoever leaves while it is found out who they are must not end the process.
    const ignore = () => {};
    socket.on('error', ignore);
    const { stream, answer } = await enter(request);
    if (stream === undefined) {
      await answerUpgrade(socket, answer);
      return;
    }
    said.set(request, answer.headers);
    const left = () => stream.close('left');
    socket.once('close', left);
    if (socket.destroyed) left();
    else webSockets.handleUpgrade(request, socket, head, (webSocket) => serveStream({ webSocket, stream, clock }));
    socket.off('error', ignore);
  };

  return {
    upgrade: (request, socket, head) => {
      take(request, socket, head).catch((thrown: unknown) => {
        logger.error('events.refused', { error: toAppError(thrown) });
        socket.destroy();
      });
    },
    close: async () => {
      webSockets.close();
      await Promise.all([...webSockets.clients].map(closed));
    },
  };
}

interface Served {
  readonly webSocket: WebSocket;
  readonly stream: EventStream;
  readonly clock: Clock;
}

function serveStream({ webSocket, stream, clock }: Served): void {
  const bounds = { perSecond: limits.eventMessagesPerSecond, burst: limits.eventMessageBurst };
  const rate = createTokenBucket(bounds, clock.monotonicMs());
  let heard = true;
  stream.onCut = () => webSocket.terminate();
  stream.onBeat = () => {
    if (!heard) webSocket.terminate();
    else if (webSocket.readyState === webSocket.OPEN) webSocket.ping();
    heard = false;
  };
  webSocket.on('pong', () => {
    heard = true;
  });
  webSocket.on('message', (data, isBinary) => {
    heard = true;
    receive(data, isBinary, { stream, rate, nowMs: clock.monotonicMs() });
  });
  // What ws itself refuses (too large, too fragmented, not UTF-8) it also closes.
  webSocket.on('error', () => {});
  webSocket.on('close', () => stream.close('left'));
  void send(webSocket, stream).catch(() => webSocket.terminate());
}

/** One batch after the other, each once the one before has left. */
async function send(webSocket: WebSocket, stream: EventStream): Promise<void> {
  const { subscription } = stream;
  for (;;) {
    const items = await subscription.next();
    if (items === undefined) break;
    await sendAll(webSocket, items);
    stream.sent(items.filter(({ is }) => is === 'event').length);
  }
  const { last } = subscription;
  if (last !== undefined) closeSocket(webSocket, closeCode(last), `after=${last.after}`);
}

function sendAll(webSocket: WebSocket, items: readonly Item[]): Promise<void> {
  return new Promise((resolve, reject) => {
    items.forEach((item, i) => {
      const data = item.is === 'event' ? item.event.json : JSON.stringify(item.note);
      const isLast = i === items.length - 1;
      webSocket.send(data, { binary: false }, (cause) => {
        if (cause) reject(cause);
        else if (isLast) resolve();
      });
    });
  });
}

/** RFC 6455 §7.4.1 and the IANA registry: 1008 policy, 1013 try again later. */
function closeCode(last: LastNote): number {
  if (last.type === 'behind') return 1013;
  return /^(auth|rate_limit|validation)\./.test(last.error_code) ? 1008 : 1013;
}

interface Receiving {
  readonly stream: EventStream;
  readonly rate: TokenBucket;
  readonly nowMs: number;
}

function receive(data: RawData, isBinary: boolean, { stream, rate, nowMs }: Receiving): void {
  const { subscription } = stream;
  if (subscription.isOver) return;
  if (rate.take(1, nowMs) > 0) {
    subscription.end(new AppError('rate_limit.exceeded', 'too many messages; a filter may change now and then'));
    return;
  }
  try {
    const { node, kind, severity } = parseMessage(data, isBinary);
    subscription.refilter({ node, severity, kinds: typeof kind === 'string' ? [kind] : kind });
  } catch (thrown) {
    const { code, message } = toAppError(thrown);
    subscription.note({ type: 'refused', error_code: code, message });
  }
}

/** @throws AppError `validation.protocol` for what is no message, `validation.body` for one that is not acceptable. */
function parseMessage(data: RawData, isBinary: boolean): SubscriberMessage {
  if (isBinary) throw new AppError('validation.protocol', 'binary frames are not part of this protocol');
  let json: unknown;
  try {
    json = JSON.parse(data.toString());
  } catch {
    throw new AppError('validation.protocol', 'not JSON');
  }
  const parsed = subscriberMessage.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') || 'message';
  throw new AppError('validation.body', `${where}: ${issue?.message ?? 'not valid'}`.slice(0, limits.maxRefusalChars));
}

/** Their streams have been ended; one that does not read its last message does not keep the others waiting. */
function closed(webSocket: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => webSocket.terminate(), 2 * limits.closeTimeoutMs);
    webSocket.once('close', () => {
      clearTimeout(cut);
      resolve();
    });
  });
}
