import { chmod, chown, mkdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { firstBlocked, locateBinaries, type ServerAccount, serverAccount } from './binaries.ts';
import {
  type Cluster,
  clusterDataDir,
  clusterUrl,
  ensurePassword,
  initialiseCluster,
  ownerLogin,
  startCluster,
  writerLogin,
} from './cluster.ts';
import { connectClient, databaseFailure, inTransaction } from './pool.ts';
import { runningPostmaster, stopPostmaster } from './postmaster.ts';

/** The embedded server, in use by us until `release`. */
export interface EmbeddedPostgres {
  /** URL of the database `sigilwatch` for its owner, who may do anything; holds the password. */
  readonly url: string;
  /** The same for the restricted role that the collector works with. It has no rights to tables until they are granted. */
  readonly writerUrl: string;
  /** Gives the server back. Whoever is last stops it. */
  release(): Promise<void>;
}

export interface EmbeddedOptions {
  readonly dataDir: string;
  /** For a login that is made now. */
  readonly newPassword: () => string;
  readonly logger: Logger;
}

/** A user's place at a running server. */
interface Seat {
  readonly client: pg.Client;
  readonly port: number;
}

/**
 * Shared by everybody who uses the server, taken exclusively by whoever stops it. The lock belongs to a session, so the
 * death of a program, however sudden, gives it back.
 */
const usersLock = 7_600_002;
/** Taken by whoever makes the restricted role. */
const writerLock = 7_600_004;
const databaseName = 'sigilwatch';
const maintenanceDatabase = 'postgres';
const retryMs = 100;

/**
 * The embedded PostgreSQL below `dataDir`: made at first use, started unless it runs, joined when it does (started by
 * another command, or left by a collector that was killed). Listens on 127.0.0.1 only, behind a password. Should the
 * server die while it is in use, it is started again on the same port.
 * @throws AppError `validation.config` or `database.unreachable`, saying what to do.
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const cluster = await prepareCluster(options);
  const seat = keepSeat(await takeSeat(cluster, options), cluster, options);
  const database = { port: seat.port, database: databaseName };
  return {
    url: await clusterUrl(cluster, { ...database, login: ownerLogin }),
    writerUrl: await clusterUrl(cluster, { ...database, login: writerLogin }),
    release: seat.leave,
  };
}

async function prepareCluster({ dataDir, newPassword }: EmbeddedOptions): Promise<Cluster> {
  const home = resolve(dataDir);
  const account = await serverAccount();
  await mkdir(home, { recursive: true, mode: 0o700 });
  if (account !== undefined) await letPass(home, account);
  const cluster = { dir: join(home, 'postgres'), account, binaries: await locateBinaries(home, account) };
  await initialiseCluster(cluster, newPassword());
  return cluster;
}

/** As root the server runs as somebody else, whose group, and nobody more, is let through the data directory. */
async function letPass(home: string, account: ServerAccount): Promise<void> {
  if ((await firstBlocked(join(home, 'postgres'), account)) !== home) return;
  const { mode, uid } = await stat(home);
  await chown(home, uid, account.gid);
  await chmod(home, (mode & 0o7777) | 0o010);
}

/** Starts or joins the server, however many others are starting or stopping it at this moment. */
async function takeSeat(cluster: Cluster, options: EmbeddedOptions): Promise<Seat> {
  const deadline = performance.now() + limits.databaseStartTimeoutMs;
  for (;;) {
    const outcome = await trySeat(cluster, options).catch(toAppError);
    if (!(outcome instanceof AppError)) return outcome;
    if (!outcome.retryable || performance.now() > deadline) throw outcome;
    await sleep(retryMs);
  }
}

async function trySeat(cluster: Cluster, { newPassword }: EmbeddedOptions): Promise<Seat> {
  const dataDir = clusterDataDir(cluster);
  if ((await runningPostmaster(dataDir)) === undefined) await startCluster(cluster);
  const port = (await runningPostmaster(dataDir))?.port;
  if (port === undefined) throw stopping();
  const client = await connectClient({
    url: await clusterUrl(cluster, { port, database: maintenanceDatabase, login: ownerLogin }),
    applicationName: 'sigilwatch-lease',
  });
  try {
    if (!(await sitDown(client))) throw stopping();
    await ensureDatabase(client);
    await ensureWriter(cluster, client, newPassword);
    return { client, port };
  } catch (thrown) {
    await client.end();
    throw databaseFailure(thrown) ?? thrown;
  }
}

function stopping(): AppError {
  return new AppError('database.unreachable', 'the embedded PostgreSQL is stopping', { retryable: true });
}

async function sitDown(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ seated: boolean }>('select pg_try_advisory_lock_shared($1) as seated', [
    usersLock,
  ]);
  return rows[0]?.seated === true;
}

async function ensureDatabase(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query('select from pg_database where datname = $1', [databaseName]);
  if (rowCount !== 0) return;
  await client.query(`create database ${databaseName}`).catch((thrown: unknown) => {
    if (!alreadyThere.has(errnoOf(thrown) ?? '')) throw thrown;
  });
}

/**
 * The restricted role, as its password file says: a cluster may be older than the role, or have lost the file. Whatever
 * was added to it beside is taken away again.
 */
function ensureWriter(cluster: Cluster, client: pg.Client, newPassword: () => string): Promise<void> {
  return inTransaction(client, async (tx) => {
    await tx.query('select pg_advisory_xact_lock($1)', [writerLock]);
    // A statement that failed would be written to the server's log, password and all.
    await tx.query(`set local log_min_error_statement = 'panic'`);
    const password = client.escapeLiteral(await ensurePassword(cluster, writerLogin, newPassword));
    const { rowCount } = await tx.query('select from pg_roles where rolname = $1', [writerLogin.role]);
    const verb = rowCount === 0 ? 'create' : 'alter';
    await tx.query(
      `${verb} role ${writerLogin.role} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password ${password}`,
    );
  });
}

/** duplicate_database, and the unique violation that two at the same instant get instead. */
const alreadyThere = new Set(['42P04', '23505']);

/** Holds on to the seat: when the server goes away under us, starts it again. */
function keepSeat(first: Seat, cluster: Cluster, options: EmbeddedOptions) {
  const { logger } = options;
  let seat = first;
  let leaving = false;
  let retaking = Promise.resolve();
  const retake = async () => {
    logger.warn('postgres.lost', { port: seat.port });
    while (!leaving) {
      try {
        watch(await takeSeat(cluster, options));
        logger.info('postgres.back', { port: seat.port });
        return;
      } catch (error) {
        logger.error('postgres.not_started', { error });
        await sleep(retryMs);
      }
    }
  };
  const watch = (taken: Seat) => {
    seat = taken;
    seat.client.once('end', () => {
      if (!leaving) retaking = retake();
    });
  };
  watch(first);
  const leave = async () => {
    leaving = true;
    await retaking;
    await standUp(cluster, seat.client);
  };
  return { port: first.port, leave };
}

async function standUp(cluster: Cluster, client: pg.Client): Promise<void> {
  try {
    if (await isLast(client)) await stopServer(clusterDataDir(cluster));
  } catch (thrown) {
    // Our session is gone, and with it the seat; whoever comes next finds the server and joins it.
    if (databaseFailure(thrown) === undefined) throw thrown;
  } finally {
    await client.end();
  }
}

/** The exclusive lock is kept until the server ends, so that nobody sits down at a server about to stop. */
async function isLast(client: pg.Client): Promise<boolean> {
  await client.query('select pg_advisory_unlock_shared($1)', [usersLock]);
  const { rows } = await client.query<{ last: boolean }>('select pg_try_advisory_lock($1) as last', [usersLock]);
  return rows[0]?.last === true;
}

async function stopServer(dataDir: string): Promise<void> {
  const postmaster = await runningPostmaster(dataDir);
  if (postmaster !== undefined) await stopPostmaster(dataDir, postmaster, limits.databaseStopTimeoutMs);
}
