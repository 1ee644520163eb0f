import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * Within which a collector under fire answers whoever is well-behaved. What is looked for is an answer that never comes: how long one takes is the
 * machine's doing too, and is a figure of the report.
 */
export const answerDeadlineMs = 60_000;

/** What came back over one connection. */
export interface Exchanged {
  readonly received: Buffer;
  /** Whether the other side ended it; otherwise we left. */
  readonly ended: boolean;
}

export interface ExchangeOptions {
  readonly port: number;
  /** Written one after the other, each in a segment of its own as far as the kernel goes along. */
  readonly chunks: readonly Buffer[];
  /** Ends our side after the last one. */
  readonly halfClose?: boolean;
  /** Leaves once this holds for what was received. */
  readonly enough?: (received: Buffer) => boolean;
  /** Leaves when nothing has been heard for so long since the last chunk. */
  readonly quietMs?: number;
  /** The same while nothing has been heard at all; as `quietMs` unless said. */
  readonly silenceMs?: number;
  /** Leaves in any case. */
  readonly deadlineMs: number;
}

/**
 * Says something over a connection of its own and hears what comes back. A connection that is reset has ended.
 * @throws when nobody listens
 */
export async function exchange(options: ExchangeOptions): Promise<Exchanged> {
  const { port, chunks, halfClose = false, enough = () => false, quietMs, silenceMs = quietMs, deadlineMs } = options;
  const socket = await connect(port);
  const heard: Buffer[] = [];
  const received = () => Buffer.concat(heard);
  return new Promise((resolve) => {
    let quiet: NodeJS.Timeout | undefined;
    const leave = (ended: boolean): void => {
      clearTimeout(deadline);
      clearTimeout(quiet);
      resolve({ received: received(), ended });
      socket.destroy();
    };
    const listen = (): void => {
      clearTimeout(quiet);
      const ms = heard.length === 0 ? silenceMs : quietMs;
      if (ms !== undefined) quiet = setTimeout(() => leave(false), ms);
    };
    const deadline = setTimeout(() => leave(false), deadlineMs);
    socket.on('data', (chunk) => {
      heard.push(chunk);
      if (enough(received())) leave(false);
      else listen();
    });
    socket.on('close', () => leave(true));
    void write(socket, chunks).then(() => {
      if (halfClose) socket.end();
      listen();
    });
  });
}

async function write(socket: net.Socket, chunks: readonly Buffer[]): Promise<void> {
  for (const [at, chunk] of chunks.entries()) {
    if (socket.destroyed) return;
    if (at > 0) await delay(1);
    socket.write(chunk);
  }
}

/** @throws when nobody listens. Errors after that end the connection, and no more. */
export function connect(port: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: '127.0.0.1', port, noDelay: true });
    socket.on('error', reject);
    socket.once('connect', () => resolve(socket));
  });
}
