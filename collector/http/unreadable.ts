import { randomUUID } from 'node:crypto';
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { RequestError } from '@hono/node-server';
import { AppError, type ErrorCode, errnoOf } from '../../common/errors.ts';
import { failureAnswer } from './errors.ts';

/*
 * What never becomes a request: what the parser of HTTP refuses, what does not arrive in time, hosts and expectations that mean
 * nothing. No route, and nothing that stands before one, gets to see it; it is answered like every other failure.
 */

interface Unreadable {
  readonly status: number;
  readonly code: ErrorCode;
  readonly message: string;
}

const malformed: Unreadable = { status: 400, code: 'validation.request', message: 'this is not a request of HTTP/1.1' };

/** By the code that Node gives it. */
const byCode: Readonly<Record<string, Unreadable>> = {
  HPE_HEADER_OVERFLOW: { status: 431, code: 'validation.too_large', message: 'the headers are too long' },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, code: 'validation.request', message: 'the request took too long to arrive' },
};

const unexpected: Unreadable = {
  status: 417,
  code: 'validation.request',
  message: 'of what Expect may ask for there is only 100-continue',
};

/** Answers for `server` what it could not read. */
export function answerUnreadable(server: Server): void {
  const underWay = new WeakMap<Duplex, ServerResponse>();
  server.on('request', ({ socket }: IncomingMessage, answer: ServerResponse) => underWay.set(socket, answer));
  server.on('clientError', (cause: Error, socket: Duplex) => {
    // Whatever is written into an answer that has begun would be taken for a part of it.
    const answer = underWay.get(socket);
    const hasBegun = answer?.headersSent === true && !answer.writableFinished;
    if (!socket.writable || hasBegun) return void socket.destroy();
    const { status, headers, body } = told(byCode[errnoOf(cause) ?? ''] ?? malformed);
    const lines = Object.entries({ ...headers, Connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`, () => socket.destroy());
  });
  server.on('checkExpectation', (_: IncomingMessage, answer: ServerResponse) => {
    const { status, headers, body } = told(unexpected);
    answer.writeHead(status, headers).end(body);
  });
}

/** What becomes of a request that the application did not get, or of a mistake of ours on the way there. */
export function unreadAnswer(thrown: unknown): Response {
  const { status, headers, body } = thrown instanceof RequestError ? told(malformed) : toldOf(thrown);
  return new Response(body, { status, headers });
}

function told({ status, code, message }: Unreadable) {
  return { ...toldOf(new AppError(code, message)), status };
}

function toldOf(thrown: unknown) {
  const requestId = randomUUID();
  const { status, body } = failureAnswer(thrown, requestId);
  const text = JSON.stringify(body);
  const headers = {
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(text)),
    'X-Content-Type-Options': 'nosniff',
    'X-Request-ID': requestId,
  };
  return { status, headers, body: text };
}
