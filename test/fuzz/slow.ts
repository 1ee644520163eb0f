import type { Socket } from 'node:net';
import { connect } from './exchange.ts';

/** Sockets that have begun something and go on with it a byte at a time, or not at all. */
export interface SlowSockets {
  /** Of those there were, how many the other side has closed. */
  readonly closed: () => number;
  release(): void;
}

const beginnings = [
  '',
  'G',
  'GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ',
  'POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{"name":"',
  'POST /api/v1/enrol HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n',
  'GET /agent/v1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sigilwatch.v1\r\n\r\n',
];
const dripEveryMs = 1_000;

/** Opens so many, of each kind as many, and drips on. */
export async function holdSlowSockets(port: number, count: number): Promise<SlowSockets> {
  let closed = 0;
  const sockets = await Promise.all(
    Array.from({ length: count }, async (_, i): Promise<Socket> => {
      const socket = await connect(port);
      socket.on('close', () => {
        closed += 1;
      });
      socket.resume();
      socket.write(beginnings[i % beginnings.length] ?? '');
      return socket;
    }),
  );
  const drip = setInterval(() => {
    for (const [i, socket] of sockets.entries()) if (i % beginnings.length > 1 && socket.writable) socket.write('x');
  }, dripEveryMs);
  return {
    closed: () => closed,
    release: () => {
      clearInterval(drip);
      for (const socket of sockets) socket.destroy();
    },
  };
}
