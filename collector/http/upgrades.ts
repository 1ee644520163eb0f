import type { IncomingMessage } from 'node:http';
import type { Context } from 'hono';
import { AppError } from '../../common/errors.ts';
import { eventsSubprotocol } from '../events/messages.ts';
import type { EventStream } from '../events/streams.ts';
import type { Entered } from '../ws/live.ts';
import type { HttpEnv, Routes } from './env.ts';

/**
 * Requests for a WebSocket go through the app as any other: one gate, one count of requests, one form of refusal. What the
 * app leaves behind is the stream that is to travel on the socket.
 */
export function enteringBy(app: Pick<Routes, 'fetch'>): (incoming: IncomingMessage) => Promise<Entered> {
  return async (incoming) => {
    const taken: EventStream[] = [];
    const takeStream = (stream: EventStream) => void taken.push(stream);
    const answer = await app.fetch(requestOf(incoming), { incoming, takeStream });
    return { stream: taken[0], answer };
  };
}

/** As GET, which nothing else can become a WebSocket from: the server of the socket refuses it then. */
function requestOf({ url = '/', rawHeaders }: IncomingMessage): Request {
  const headers = new Headers();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) headers.append(rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '');
  return new Request(new URL(url, 'http://collector'), { headers });
}

/**
 * A page of another site must not follow with what the browser knows of its user. Whoever is no browser sends no origin.
 * @throws AppError `validation.protocol`, `auth.forbidden`.
 */
export function requireWebSocket(c: Context<HttpEnv>, allowedOrigins: readonly string[]): void {
  const offered = c.req
    .header('Sec-WebSocket-Protocol')
    ?.split(',')
    .map((name) => name.trim());
  if (offered?.includes(eventsSubprotocol) !== true) {
    const message = `ask for the subprotocol ${eventsSubprotocol} (Sec-WebSocket-Protocol)`;
    throw new AppError('validation.protocol', message);
  }
  const origin = c.req.header('Origin');
  if (origin === undefined || allowedOrigins.includes(origin)) return;
  if (URL.canParse(origin) && new URL(origin).host === c.req.header('Host')) return;
  throw new AppError('auth.forbidden', 'pages of this origin may not follow events here', { details: { origin } });
}
