import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { MiddlewareHandler } from 'hono';
import { Counter, Gauge, type Registry } from 'prom-client';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { health, metrics, ready } from '../api/service-contract.ts';
import { countedAddress, isLocalAddress, trustedPeers } from './client-address.ts';
import type { HttpEnv } from './env.ts';
import type { HttpSettings } from './settings.ts';

/*
 * How many connections are open at once. Beyond the limit there is a reserve, in which only those questions are answered that tell
 * how the collector is: whoever looks after it gets through, and whoever fills the reserve pushes out their own.
 */

export interface ConnectionBounds {
  readonly max: number;
  /** Of one address, or one IPv6 network of 64 bits. */
  readonly perAddress: number;
  /** Beyond `max`. */
  readonly reserve: number;
}

/** Two ends of one connection have the same: the socket and TLS on it. */
type Peer = Pick<Socket, 'remoteAddress' | 'remotePort'>;

export type Admitted =
  | { readonly is: 'open' }
  /** `instead` has to go. */
  | { readonly is: 'reserve'; readonly instead: string | undefined }
  | { readonly is: 'refused' };

export interface ConnectionBook {
  /** @param address undefined for one that is not counted by itself. */
  admit(key: string, address: string | undefined): Admitted;
  left(key: string): void;
  isInReserve(key: string): boolean;
  readonly open: number;
}

/** Who is connected. Pure but for what it remembers. */
export function createConnectionBook({ max, perAddress, reserve }: ConnectionBounds): ConnectionBook {
  const addresses = new Map<string, string | undefined>();
  const counts = new Map<string, number>();
  const reserved = new Set<string>();

  function left(key: string): void {
    const address = addresses.get(key);
    reserved.delete(key);
    if (!addresses.delete(key) || address === undefined) return;
    const count = (counts.get(address) ?? 1) - 1;
    if (count === 0) counts.delete(address);
    else counts.set(address, count);
  }
  return {
    admit: (key, address) => {
      const own = address === undefined ? 0 : (counts.get(address) ?? 0);
      if (own >= perAddress) return { is: 'refused' };
      const isFull = addresses.size - reserved.size >= max;
      addresses.set(key, address);
      if (address !== undefined) counts.set(address, own + 1);
      if (!isFull) return { is: 'open' };
      const [oldest] = reserved;
      const instead = reserved.size >= reserve ? oldest : undefined;
      if (instead !== undefined) left(instead);
      reserved.add(key);
      return { is: 'reserve', instead };
    },
    left,
    isInReserve: (key) => reserved.has(key),
    get open() {
      return addresses.size;
    },
  };
}

export interface Connections {
  /** Counts the connections of a server from now on, and cuts those that are too many. */
  guard(server: Pick<Server, 'on'>): void;
  /** Whether a connection is one beyond the limit. */
  isInReserve(peer: Peer): boolean;
}

const keyOf = ({ remoteAddress = '', remotePort = 0 }: Peer): string => `${remoteAddress} ${remotePort}`;

/** Proxies that are trusted, and this machine, stand for many: they count in all only. */
export function createConnections(
  { connections, trustedProxies }: Pick<HttpSettings, 'connections' | 'trustedProxies'>,
  registry: Registry,
): Connections {
  const book = createConnectionBook({ ...connections, reserve: limits.reservedConnections });
  const refused = connectionMetrics(registry, book);
  const isTrusted = trustedPeers(trustedProxies);
  const sockets = new Map<string, Socket>();
  return {
    guard: (server) => {
      server.on('connection', (socket: Socket) => {
        const { remoteAddress: address = '' } = socket;
        const key = keyOf(socket);
        const admitted = book.admit(
          key,
          isLocalAddress(address) || isTrusted(address) ? undefined : countedAddress(address),
        );
        if (admitted.is !== 'open') refused.inc({ why: admitted.is === 'reserve' ? 'all' : 'address' });
        if (admitted.is === 'refused') {
          socket.destroy();
          return;
        }
        if (admitted.is === 'reserve' && admitted.instead !== undefined) sockets.get(admitted.instead)?.destroy();
        sockets.set(key, socket);
        socket.once('close', () => {
          // Another connection may have the same port by then.
          if (sockets.get(key) !== socket) return;
          sockets.delete(key);
          book.left(key);
        });
      });
    },
    isInReserve: (peer) => book.isInReserve(keyOf(peer)),
  };
}

function connectionMetrics(registry: Registry, book: ConnectionBook): Counter<'why'> {
  new Gauge({
    name: 'sigilwatch_collector_connections',
    help: 'Connections that are open, those in the reserve included',
    registers: [registry],
    collect() {
      this.set(book.open);
    },
  });
  return new Counter({
    name: 'sigilwatch_collector_connections_refused_total',
    help: 'Connections beyond a limit: of one address (cut), or of all (put in the reserve)',
    labelNames: ['why'],
    registers: [registry],
  });
}

const tells: ReadonlySet<string> = new Set([health.path, ready.path, metrics.path]);

/** In the reserve only those questions are answered that tell how the collector is, and one to a connection. */
export function withRoom({ isInReserve }: Pick<Connections, 'isInReserve'>): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    const { outgoing, incoming } = c.env ?? {};
    const socket = (outgoing?.req ?? incoming)?.socket;
    if (socket === undefined || !isInReserve(socket)) return next();
    c.header('Connection', 'close');
    if (!tells.has(c.req.path)) throw noRoom();
    await next();
  };
}

function noRoom(): AppError {
  const message = 'as many connections are open as this collector takes (http.connections.max); try again later';
  return new AppError('state.busy', message, { retryable: true });
}
