import type { IncomingMessage } from 'node:http';
import WebSocket from 'ws';
import { z } from 'zod';
import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { createInbox } from '../../common/inbox.ts';
import { limits } from '../../common/limits.ts';
import { createLiveness, type LivenessBounds } from '../../common/liveness.ts';
import { protocolName, readVersion, spokenProtocols, versionHeader } from '../../common/negotiation.ts';

export interface SocketBounds extends LivenessBounds {
  /** From the first packet to the welcome. */
  readonly handshakeTimeoutMs: number;
}

/** What came of the upgrade. */
export interface Agreed {
  /** Subprotocol that the collector has chosen. */
  readonly protocol: string;
  /** The collector's, as it says; undefined for one of 0.1.0 or before, and where a proxy keeps it. */
  readonly version: string | undefined;
}

export interface SocketOptions {
  /** `ws:` or `wss:`. */
  readonly url: URL;
  /** PEM of the authorities that count; without it those of the system. */
  readonly ca?: string | undefined;
  readonly bounds: SocketBounds;
  readonly clock: Clock;
  readonly onOpen: (agreed: Agreed) => void;
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

export function openSocket({ url, ca, bounds, clock, onOpen, handle, onOver }: SocketOptions): AgentSocket {
  let version: string | undefined;
  const socket = new WebSocket(url, spokenProtocols.map(protocolName), {
    perMessageDeflate: false,
    maxPayload: limits.maxFrameBytes,
    maxFragments: limits.maxFrameFragments,
    handshakeTimeout: bounds.handshakeTimeoutMs,
    followRedirects: false,
    minVersion: 'TLSv1.2',
    ...(ca !== undefined && { ca }),
  });
  const liveness = createLiveness(bounds, clock.monotonicMs());
  const heard = (): void => liveness.heard(clock.monotonicMs());
  const resume = (): void => {
    // Nothing could be heard during the pause.
    heard();
    socket.resume();
  };
  const inbox = createInbox({ source: { pause: () => socket.pause(), resume }, handle, fail: onOver });

  socket.on('upgrade', ({ headers }) => {
    version = readVersion(headers[versionHeader]);
  });
  socket.on('unexpected-response', (request, answer) => {
    reasonOf(answer)
      .then((reason) => onOver(reason ?? unreachable(url, `answers ${answer.statusCode} instead of a connection`)))
      .finally(() => request.destroy());
  });
  socket.on('open', () => {
    heard();
    onOpen({ protocol: socket.protocol, version });
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
      // Nobody is there yet to say goodbye to, and nothing that could be resumed.
      if (socket.readyState === WebSocket.CONNECTING) return socket.terminate();
      socket.close(1000);
      // A paused socket would never see the answer.
      socket.resume();
      setTimeout(() => socket.terminate(), limits.closeTimeoutMs).unref();
    },
  };
}

const refusalBody = z.object({ error_code: z.enum(['state.version', 'validation.protocol']), message: z.string() });

/**
 * Why a collector does not take us for as long as nobody upgrades one of us; undefined for any other answer, which may be that of
 * whatever stands between. Never rejects.
 */
async function reasonOf(answer: IncomingMessage): Promise<AppError | undefined> {
  if (answer.statusCode !== 400) {
    answer.resume();
    return undefined;
  }
  try {
    const { error_code: code, message } = refusalBody.parse(JSON.parse(await boundedText(answer)));
    const ours = spokenProtocols.map(protocolName).join(', ');
    const said = message.slice(0, limits.maxRefusalChars);
    // A collector that came before negotiation says only what it wants.
    const why =
      code === 'state.version' ? said : `this agent speaks ${ours}, the collector does not: upgrade it (${said})`;
    return new AppError('collector.refused', why, { details: { code: 'state.version' } });
  } catch {
    return undefined;
  }
}

async function boundedText(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of answer) {
    text += String(chunk);
    if (text.length > limits.maxUpgradeRefusalChars) throw new AppError('validation.protocol', 'too long an answer');
  }
  return text;
}

function unreachable(url: URL, reason: string, cause?: unknown): AppError {
  return new AppError('collector.unreachable', `${url.origin === 'null' ? url.href : url.origin}: ${reason}`, {
    retryable: true,
    ...(cause === undefined ? {} : { cause }),
  });
}
