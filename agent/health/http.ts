import { createServer, type Server } from 'node:http';
import type { Registry } from 'prom-client';
import { AppError, errnoOf } from '../../common/errors.ts';
import type { AgentStatus } from './status.ts';

export interface HttpOptions {
  readonly host: string;
  readonly port: number;
  readonly status: () => AgentStatus;
  readonly registry: Registry;
}

/**
 * `GET /healthz` (200 or 503 with the whole status) and `GET /metrics`, for this machine only by default.
 * @throws AppError `state.conflict` when the port is taken.
 */
export async function serveHttp({ host, port, status, registry }: HttpOptions): Promise<Server> {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (request.method !== 'GET') return void response.writeHead(405, { allow: 'GET' }).end();
    if (path === '/healthz') {
      const body = status();
      response.writeHead(body.status === 'ok' ? 200 : 503, { 'content-type': 'application/json' });
      return void response.end(`${JSON.stringify(body)}\n`);
    }
    if (path !== '/metrics') return void response.writeHead(404).end();
    registry.metrics().then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(cannotListen(host, port, cause)));
    server.listen(port, host, resolve);
  });
  return server;
}

/** Takes no more requests and cuts those under way. */
export async function closeHttp(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}

/** The address a listening server can be reached at. */
export function urlOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === 'string')
    throw new AppError('internal.error', 'the server does not listen');
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}

function cannotListen(host: string, port: number, cause: Error): AppError {
  if (errnoOf(cause) !== 'EADDRINUSE') return new AppError('validation.config', cause.message, { cause });
  return new AppError(
    'state.conflict',
    `${host}:${port} is taken: is another agent running? http.port sets another port`,
    { cause },
  );
}
