import WebSocket from 'ws';
import type { Clock } from '../common/clock.ts';
import { AppError } from '../common/errors.ts';
import { createInbox } from '../common/inbox.ts';
import { limits } from '../common/limits.ts';
import { createLiveness, type LivenessBounds } from '../common/liveness.ts';
import { subprotocol } from '../common/protocol.ts';

export interface SocketBounds extends LivenessBounds {
  /** From the first packet to the welcome. */
  readonly handshakeTimeoutMs: number;
}

export interface SocketOptions {
  /** `ws:` or `wss:`. */
  readonly url: URL;
  readonly bounds: SocketBounds;
  readonly clock: Clock;
  readonly onOpen: () => void;
  /** Deals with one text frame; called one at a time. When it rejects, `onOver` hears why. */
  readonly handle: (frame: string) => Promise<void>;
  /** The connection is over or has to be; may be called more than once. */
  readonly onOver: (thrown: unknown) => void;
}

/** The agent's WebSocket: text frames, one at a time in either direction, no compression, all sizes bounded. */
export interface AgentSocket {
  /** Resolves when the frame has left the process, which is how a slow collector slows us. Rejects when it cannot. */
  send(frame: string): Promise<void>;
  /** Asks a silent collector for a sign of life, or gives it up. To be called every now and then. */
  checkLiveness(): void;
  /** Ends the connection at once. */
  cut(): void;
  /** Says goodbye first, for at most `limits.closeTimeoutMs`. */
  close(): void;
}

export function openSocket({ url, bounds, clock, onOpen, handle, onOver }: SocketOptions): AgentSocket {
  const socket = new WebSocket(url, subprotocol, {
    perMessageDeflate: false,
    maxPayload: limits.maxFrameBytes,
    maxFragments: limits.maxFrameFragments,
    handshakeTimeout: bounds.handshakeTimeoutMs,
    followRedirects: false,
  });
  const liveness = createLiveness(bounds, clock.monotonicMs());
  const heard = (): void => liveness.heard(clock.monotonicMs());
  const resume = (): void => {
    // Nothing could be heard during the pause.
    heard();
    socket.resume();
  };
  const inbox = createInbox({ source: { pause: () => socket.pause(), resume }, handle, fail: onOver });

  socket.on('open', () => {
    heard();
    onOpen();
  });
  socket.on('message', (data, isBinary) => {
    heard();
    if (isBinary) onOver(new AppError('validation.protocol', 'the collector sent a binary frame'));
    else inbox(data.toString());
  });
  socket.on('ping', heard);
  socket.on('pong', heard);
  socket.on('error', (cause) => onOver(unreachable(url, cause.message, cause)));
  socket.on('close', (code, reason) =>
    onOver(unreachable(url, `closed (${code}${reason.length > 0 ? ` ${reason}` : ''})`)),
  );

  return {
    send: (frame) =>
      new Promise((resolve, reject) => {
        socket.send(frame, (cause) => (cause ? reject(unreachable(url, cause.message, cause)) : resolve()));
      }),
    checkLiveness: () => {
      if (socket.readyState !== WebSocket.OPEN || socket.isPaused) return;
      const verdict = liveness.check(clock.monotonicMs());
      if (verdict === 'ping') socket.ping();
      if (verdict === 'dead') onOver(unreachable(url, 'no sign of life'));
    },
    cut: () => socket.terminate(),
    close: () => {
      socket.close(1000);
      // A paused socket would never see the answer.
      socket.resume();
      setTimeout(() => socket.terminate(), limits.closeTimeoutMs).unref();
    },
  };
}

function unreachable(url: URL, reason: string, cause?: unknown): AppError {
  return new AppError('collector.unreachable', `${url.origin === 'null' ? url.href : url.origin}: ${reason}`, {
    retryable: true,
    ...(cause === undefined ? {} : { cause }),
  });
}
