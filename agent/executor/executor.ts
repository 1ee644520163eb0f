import { once } from 'node:events';
import { chmodSync, chownSync, lstatSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type Service, serve } from './connection.ts';
import { Counters } from './counts.ts';
import { engineLookUp } from './engine-look.ts';
import { type Log, limitedLog } from './log.ts';
import type { OrderTrust } from './order-header.ts';
import { OrderUses, Rate } from './uses.ts';

export interface ExecutorSettings {
  /** Where the agent is served; made, and taken away at the end. */
  readonly socketPath: string;
  /** The engine's own socket, which nobody else on the node needs any more. */
  readonly enginePath: string;
  /** Who may use the served socket beside its owner; undefined leaves it to the process's own group. */
  readonly groupId: number | undefined;
  readonly trust: OrderTrust;
}

export interface RunningExecutor {
  /** Takes no more requests, lets those under way finish for a while, and removes the socket. Can be called again. */
  stop(): Promise<void>;
}

/**
 * Serves the allowlist of the Engine API at a unix socket.
 * @throws AppError `state.conflict` when somebody serves there already, `validation.config` when the socket cannot be made
 */
export async function startExecutor(
  settings: ExecutorSettings,
  { now, log }: { readonly now: () => number; readonly log: Log },
): Promise<RunningExecutor> {
  const { socketPath, enginePath, groupId, trust } = settings;
  await removeStale(socketPath);
  const refusalLog = limitedLog(log, now);
  const counters = new Counters();
  const lookUp = engineLookUp(enginePath);
  const [uses, tagRate] = [new OrderUses(now), new Rate(limits.executorTagsPerMinute, now)];
  const service: Service = { enginePath, trust, uses, tagRate, lookUp, counters, log, refusalLog, now };
  const open = new Set<Socket>();
  const endless = new Set<Socket>();

  // Nothing is read before somebody asks for it, so a client cannot make us keep what we do not want.
  const server = createServer({ pauseOnConnect: true }, (client) => {
    client.on('error', () => {});
    open.add(client);
    void serve(client, service, () => endless.add(client));
    client.once('close', () => {
      open.delete(client);
      endless.delete(client);
    });
  });
  server.maxConnections = limits.executorMaxConnections;
  server.on('drop', () => {
    counters.refused('busy');
    refusalLog('warn', 'executor.refused', { code: 'busy', reason: 'too many connections' });
  });
  await listen(server, socketPath, groupId);
  log('info', 'executor.serving', { socket: socketPath, engine: enginePath, node: trust.node });

  const stop = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    for (const client of endless) client.destroy();
    const cut = setTimeout(() => {
      for (const client of open) client.destroy();
    }, limits.executorDrainMs);
    await closed;
    clearTimeout(cut);
    log('info', 'executor.stopped', {});
  };
  let stopped: Promise<void> | undefined;
  return {
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

/** A socket that nobody listens at is left over from a process that was killed. Anything else that stands there is not ours. */
async function removeStale(socketPath: string): Promise<void> {
  const found = lstatSync(socketPath, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new AppError('validation.config', `${socketPath} is something else than a socket`);
  if (await isServed(socketPath)) throw new AppError('state.conflict', `somebody serves at ${socketPath} already`);
  rmSync(socketPath, { force: true });
}

function isServed(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socketPath);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error) => resolve(errnoOf(error) !== 'ECONNREFUSED'));
  });
}

async function listen(server: ReturnType<typeof createServer>, socketPath: string, groupId: number | undefined) {
  // For nobody else until it has its group: between making a socket and its mode anybody could connect.
  const before = process.umask(0o177);
  try {
    const listening = once(server, 'listening');
    server.listen(socketPath);
    await listening;
    if (groupId !== undefined) chownSync(socketPath, -1, groupId);
    chmodSync(socketPath, 0o660);
  } catch (cause) {
    server.close();
    throw noSocket(socketPath, cause);
  } finally {
    process.umask(before);
  }
}

function noSocket(socketPath: string, cause: unknown): AppError {
  const why = errnoOf(cause) ?? String(cause);
  return new AppError(
    'validation.config',
    `no socket can be made at ${socketPath} (${why}): check its folder and group`,
    {
      cause,
    },
  );
}
