import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Routes } from './env.ts';

/** An HTTP server for `app`, not yet listening. */
export function createHttpServer(app: Routes): Server {
  const options = { requestTimeout: limits.httpRequestTimeoutMs, headersTimeout: limits.httpHeadersTimeoutMs };
  return createServer(options, getRequestListener(app.fetch, { overrideGlobalObjects: false }));
}

/**
 * Starts listening. @returns the URL to reach it at.
 * @throws AppError `state.conflict` when the port is taken, `validation.config` when the address is not ours.
 */
export function startListening(server: Server, { host, port }: { host: string; port: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(notListening(cause, host, port)));
    server.listen(port, host, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      resolve(`http://${host.includes(':') ? `[${host}]` : host}:${bound}`);
    });
  });
}

function notListening(cause: Error, host: string, port: number): AppError {
  const options = { cause, details: { host, port } };
  const errno = errnoOf(cause);
  if (errno === 'EADDRINUSE') {
    const message = `port ${port} on ${host} is in use; is a collector running already? Another port: SIGILWATCH_HTTP_PORT`;
    return new AppError('state.conflict', message, options);
  }
  return new AppError(
    'validation.config',
    `cannot listen on ${host}:${port} (${errno}); see SIGILWATCH_HTTP_HOST`,
    options,
  );
}

/** Takes no more requests, lets those under way finish for a while, then cuts them. */
export async function stopListening(server: Server, alsoClose: () => Promise<void>): Promise<void> {
  if (!server.listening) return alsoClose();
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), limits.httpDrainMs);
  await alsoClose();
  await closed;
  clearTimeout(cut);
}

/** Whether only this machine can reach `host`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
