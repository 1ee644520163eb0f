import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { connectClient, type DatabaseOptions } from './pool.ts';

export interface Listening {
  readonly database: DatabaseOptions;
  readonly channel: string;
  /** A notification's payload. Not awaited. */
  readonly onNotify: (payload: string) => void;
  /** Called whenever listening begins, the first time too: notifications before it were missed. Not awaited. */
  readonly onListening: () => void;
  readonly logger: Logger;
}

export interface Listener {
  stop(): Promise<void>;
}

const reconnectMs = 250;

/**
 * LISTENs on a connection of its own and connects again whenever that is lost. PostgreSQL keeps nothing for who is away,
 * so `onListening` is where the caller catches up.
 * @throws AppError `database.unreachable` when the first connection fails.
 */
export async function listen(options: Listening): Promise<Listener> {
  const stopping = new AbortController();
  const first = await subscribe(options);
  const done = keepListening(first, options, stopping.signal);
  return {
    stop: async () => {
      stopping.abort();
      await done;
    },
  };
}

async function subscribe({ database, channel, onNotify, onListening }: Listening): Promise<pg.Client> {
  const client = await connectClient(database);
  client.on('notification', ({ payload }) => onNotify(payload ?? ''));
  try {
    await client.query(`listen ${client.escapeIdentifier(channel)}`);
  } catch (thrown) {
    await client.end();
    throw thrown;
  }
  onListening();
  return client;
}

async function keepListening(first: pg.Client, options: Listening, stop: AbortSignal): Promise<void> {
  let client: pg.Client | undefined = first;
  while (!stop.aborted) {
    if (client !== undefined) await untilLost(client, stop);
    if (stop.aborted) break;
    options.logger.warn('database.listener_lost', { channel: options.channel });
    await pause(reconnectMs, stop);
    client = await subscribe(options).catch(() => undefined);
  }
  await client?.end();
}

/** Asks every few seconds: a connection whose other side vanished without a word looks healthy otherwise. */
async function untilLost(client: pg.Client, stop: AbortSignal): Promise<void> {
  const lost = new AbortController();
  const markLost = () => lost.abort();
  client.once('end', markLost);
  const either = AbortSignal.any([stop, lost.signal]);
  while (!either.aborted) {
    await pause(limits.databaseHeartbeatMs, either);
    if (!either.aborted && !(await answers(client))) break;
  }
  client.off('end', markLost);
  if (!stop.aborted) void client.end();
}

async function answers(client: pg.Client): Promise<boolean> {
  const late = sleep(limits.databaseHeartbeatMs, false, { ref: false });
  const answer = client.query('select 1').then(
    () => true,
    () => false,
  );
  return Promise.race([answer, late]);
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
