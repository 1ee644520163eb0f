import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

/** Takes one upgrade, whatever becomes of it. */
export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export interface Refusal {
  /** Code and phrase of HTTP: `404 Not Found`. */
  readonly status: string;
  /** JSON; nothing without it. */
  readonly body?: unknown;
  readonly retryAfterSeconds?: number;
  /** More headers, by name. */
  readonly headers?: readonly (readonly [string, string])[];
}

/** The path that was asked for, without what follows the question mark. */
export function pathOf({ url = '/' }: IncomingMessage): string {
  return url.split('?')[0] ?? '/';
}

/** Subprotocols that were asked for, as they stand in the header. */
export function offeredProtocols({ headers }: IncomingMessage): readonly string[] {
  return headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
}

export function offersProtocol(request: IncomingMessage, protocol: string): boolean {
  return offeredProtocols(request).includes(protocol);
}

/** Answers an upgrade that is not granted, and closes. */
export function turnAway(socket: Duplex, { status, body, retryAfterSeconds = 1, headers = [] }: Refusal): void {
  const text = body === undefined ? '' : JSON.stringify(body);
  const type = body === undefined ? '' : 'Content-Type: application/json\r\n';
  const more = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.on('error', () => {});
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\n${more}${type}Content-Length: ${Buffer.byteLength(text)}\r\n` +
      `Retry-After: ${retryAfterSeconds}\r\n\r\n${text}`,
  );
  socket.once('finish', () => socket.destroy());
}

/** Answers an upgrade as any other request, and closes. */
export async function answerUpgrade(socket: Duplex, answer: Response): Promise<void> {
  const body = Buffer.from(await answer.arrayBuffer());
  const headers = new Headers(answer.headers);
  headers.set('Connection', 'close');
  headers.set('Content-Length', String(body.length));
  const lines = [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.on('error', () => {});
  socket.end(
    Buffer.concat([
      Buffer.from(`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? 'Error'}\r\n${lines}\r\n`, 'latin1'),
      body,
    ]),
  );
  socket.once('finish', () => socket.destroy());
}
