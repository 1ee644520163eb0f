import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Routes } from './env.ts';
import type { HttpSettings } from './settings.ts';
import type { TakesCertificate, TlsMaterial } from './tls.ts';
import { answerUnreadable, unreadAnswer } from './unreadable.ts';

/** An HTTP server for `app`, not yet listening. */
export function createHttpServer(app: Routes): Server {
  const server = createServer(settings, listenerOf(app));
  answerUnreadable(server);
  return server;
}

/** The same over TLS. */
export function createHttpsServer(app: Routes, tls: TlsMaterial): Server & TakesCertificate {
  const options = { ...settings, ...tls.options, handshakeTimeout: limits.httpHeadersTimeoutMs };
  const server = createTlsServer(options, listenerOf(app));
  answerUnreadable(server);
  return server;
}

function listenerOf(app: Routes) {
  return getRequestListener(app.fetch, { errorHandler: unreadAnswer });
}

const settings = {
  // Who names no host is told so by us, not by an answer without a body.
  requireHostHeader: false,
  requestTimeout: limits.httpRequestTimeoutMs,
  headersTimeout: limits.httpHeadersTimeoutMs,
  connectionsCheckingInterval: limits.httpTimeoutCheckMs,
};

/**
 * What others can reach is not served in the open unless somebody said so.
 * @throws AppError `validation.config`.
 */
export function requireSafeAddress({ host, insecure }: HttpSettings, tls: TlsMaterial | undefined): void {
  if (tls !== undefined || insecure || isLoopback(host)) return;
  throw new AppError(
    'validation.config',
    `without TLS, tokens and entries could be read on the way to ${host}: set http.tls.certificate and http.tls.key, ` +
      'or listen on 127.0.0.1; behind a proxy that has TLS, or to accept that: --insecure, or http.insecure: true',
    { details: { host } },
  );
}

/** Where to listen. */
export interface Listening {
  readonly settings: HttpSettings;
  readonly tls: TlsMaterial | undefined;
  /** Descriptor of a socket that listens already, wherever it does; the settings' host and port do not count then. */
  readonly passed?: number | undefined;
}

/**
 * Starts listening. @returns the URL to reach it at.
 * @throws AppError `state.conflict` when the port is taken, `validation.config` when the address is not ours, or when what was
 *   passed cannot be listened on, or is in reach of others without TLS.
 */
export function startListening(server: Server, { settings, tls, passed }: Listening): Promise<string> {
  const { host, port } = settings;
  return new Promise((resolve, reject) => {
    const failed = (cause: Error) => reject(passed === undefined ? notListening(cause, host, port) : notPassed(cause));
    server.once('error', failed);
    const listening = () => {
      try {
        const bound = addressOf(server);
        // Before the first connection is looked at: that is for a later round of the event loop.
        if (passed !== undefined) requireSafeAddress({ ...settings, host: bound.address }, tls);
        const name = passed === undefined ? host : bound.address;
        resolve(`${tls === undefined ? 'http' : 'https'}://${name.includes(':') ? `[${name}]` : name}:${bound.port}`);
      } catch (thrown) {
        server.close();
        reject(thrown);
      }
    };
    if (passed === undefined) server.listen({ port, host, backlog: limits.listenBacklog }, listening);
    else server.listen({ fd: passed }, listening);
  });
}

function addressOf(server: Server): AddressInfo {
  const address = server.address();
  if (typeof address === 'object' && address !== null) return address;
  throw notPassed(new Error(`it is ${address ?? 'not open'}, and not one of TCP`));
}

function notPassed(cause: Error): AppError {
  const message = `cannot listen on the socket that the service manager passes: ${errnoOf(cause) ?? cause.message}; see sigilwatch-collector.socket`;
  return new AppError('validation.config', message, { cause });
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
