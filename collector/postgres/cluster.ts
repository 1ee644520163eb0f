import { execFile, spawn } from 'node:child_process';
import { chown, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { shellWord } from '../../common/shell-word.ts';
import { syncFolder, writeNewDurably } from '../data/durable-file.ts';
import { type Binaries, firstBlocked, type ServerAccount } from './binaries.ts';
import { clearStalePidFile, runningPostmaster, waitUntil } from './postmaster.ts';

const run = promisify(execFile);

/** A login of an embedded cluster: the role, and the file in the cluster's folder that holds its password. */
export interface ClusterLogin {
  readonly role: string;
  readonly passwordFile: string;
}

/** Owns everything and may do anything; migrates, and drops what retention lets go. */
export const ownerLogin: ClusterLogin = { role: 'sigilwatch', passwordFile: 'password' };

/** The collector at work: no superuser, no owner, only what was granted to it (`roles.ts`). */
export const writerLogin: ClusterLogin = { role: 'sigilwatch_writer', passwordFile: 'writer-password' };

/** Everything about an embedded cluster that does not change while it exists. */
export interface Cluster {
  /** Folder with `data/`, `password`, `writer-password`, `port` and `server.log`. */
  readonly dir: string;
  readonly binaries: Binaries;
  readonly account: ServerAccount | undefined;
}

export const clusterDataDir = ({ dir }: Cluster): string => join(dir, 'data');
const passwordPath = (dir: string, { passwordFile }: ClusterLogin): string => join(dir, passwordFile);
const portFile = (dir: string): string => join(dir, 'port');
const logFile = (dir: string): string => join(dir, 'server.log');

/** Shown when the server does not start. */
const logTailChars = 1_500;
const logKeptBytes = 8 * 1024 * 1024;

/**
 * Makes the cluster unless it exists. It is built under another name and renamed when complete, so neither a kill in the
 * middle nor two programs at once leave half a cluster.
 * @param password of the cluster's owner; kept in a file of mode 0600.
 */
export async function initialiseCluster(cluster: Cluster, password: string): Promise<void> {
  if (await exists(clusterDataDir(cluster))) return;
  await requireOpenPath(cluster);
  await removeAbandoned(cluster.dir);
  const staging = `${cluster.dir}.new-${process.pid}`;
  await makeOwnedDir(staging, cluster.account);
  await writeOwned(passwordPath(staging, ownerLogin), `${password}\n`, cluster.account);
  await initdb(cluster, staging);
  await syncFolder(staging);
  try {
    await rename(staging, cluster.dir);
    // What the database acknowledges later is worth as much as its own name.
    await syncFolder(dirname(cluster.dir));
  } catch (thrown) {
    await rm(staging, { recursive: true, force: true });
    if (!(await exists(clusterDataDir(cluster)))) throw thrown;
  }
}

/** @throws AppError `validation.config` naming the folder that the server's account may not enter, and the fix. */
async function requireOpenPath({ dir, account }: Cluster): Promise<void> {
  if (account === undefined) return;
  const blocked = await firstBlocked(dir, account);
  if (blocked === undefined) return;
  throw new AppError(
    'validation.config',
    `the data directory ${dirname(dir)} cannot hold PostgreSQL: it does not run as root, and its user "postgres" may not enter ${blocked}. ` +
      `Choose another with --data-dir (for example /var/lib/sigilwatch), run "chmod o+x ${shellWord(blocked)}", or run the collector as an ordinary user`,
    { details: { dataDir: dirname(dir), blocked } },
  );
}

/** Folders of programs that were killed while they made a cluster. */
async function removeAbandoned(dir: string): Promise<void> {
  const prefix = `${basename(dir)}.new-`;
  const found = (await readdir(dirname(dir))).filter((name) => name.startsWith(prefix));
  const abandoned = found.filter((name) => !isAlive(Number(name.slice(prefix.length))));
  await Promise.all(abandoned.map((name) => rm(join(dirname(dir), name), { recursive: true, force: true })));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (thrown) {
    return errnoOf(thrown) === 'EPERM';
  }
}

async function initdb({ binaries, account }: Cluster, staging: string): Promise<void> {
  const options = [
    `--pgdata=${join(staging, 'data')}`,
    `--username=${ownerLogin.role}`,
    `--pwfile=${passwordPath(staging, ownerLogin)}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // Byte order: the same on every machine, whatever locales it has.
    '--locale=C',
  ];
  try {
    await run(binaries.initdb, options, { ...account, cwd: staging, env: serverEnv });
  } catch (cause) {
    await rm(staging, { recursive: true, force: true });
    throw new AppError('database.unreachable', `PostgreSQL's initdb failed: ${messageOf(cause)}`, { cause });
  }
}

/** The server needs nothing of our environment, and must not see what is secret in it. */
const serverEnv = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/bin:/bin' };

/**
 * Starts the server in a session of its own, so that neither Ctrl-C nor our death takes it down in the middle of work,
 * and waits until it accepts connections. Does nothing when another program was faster.
 * @throws AppError `database.unreachable` with the end of the server's log.
 */
export async function startCluster(cluster: Cluster): Promise<void> {
  const { dir, binaries, account } = cluster;
  await requireOpenPath(cluster);
  await clearStalePidFile(clusterDataDir(cluster));
  const port = await choosePort(dir, account);
  const log = await openLog(dir);
  const { size: logStart } = await log.stat();
  const server = spawn(binaries.postgres, serverOptions(cluster, port), {
    ...account,
    cwd: dir,
    env: serverEnv,
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  });
  server.unref();
  let ended = false;
  const markEnded = () => {
    ended = true;
  };
  server.once('exit', markEnded).once('error', markEnded);
  await log.close();
  const ready = async () => ended || (await isReady(cluster));
  await waitUntil(ready, limits.databaseStartTimeoutMs, () => notStarted(dir, 'it is not ready in time'));
  // Two programs that start it at once: the slower one's server gives way.
  if (ended && (await runningPostmaster(clusterDataDir(cluster))) === undefined) {
    throw notStarted(dir, await logSince(dir, logStart));
  }
}

function serverOptions(cluster: Cluster, port: number): string[] {
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    password_encryption: 'scram-sha-256',
    max_connections: 100,
    log_min_messages: 'warning',
    log_checkpoints: 'off',
    wal_compression: 'on',
    max_wal_size: '1GB',
    // Segments are written again rather than anew: a new one is filled with zeros first.
    min_wal_size: '512MB',
    timezone: 'UTC',
  };
  return [
    '-D',
    clusterDataDir(cluster),
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
}

/** Line 8 of the file says how far the server has come (PostgreSQL's `pidfile.h`). */
async function isReady(cluster: Cluster): Promise<boolean> {
  const text = await readFile(join(clusterDataDir(cluster), 'postmaster.pid'), 'utf8').catch(() => '');
  return text.split('\n')[7]?.trim() === 'ready';
}

/** The port of the last time, so that a restarted server is found by those who knew it; another when it is taken. */
async function choosePort(dir: string, account: ServerAccount | undefined): Promise<number> {
  const last = Number.parseInt(await readFile(portFile(dir), 'utf8').catch(() => '0'), 10);
  const port = (await freePort(last)) ?? (await freePort(0));
  if (port === undefined) throw new AppError('database.unreachable', 'no free port on 127.0.0.1 for PostgreSQL');
  if (port !== last) await writeOwned(portFile(dir), `${port}\n`, account);
  return port;
}

/** `port` itself, or any when it is 0, if it can be bound right now. */
function freePort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(undefined));
    probe.listen(port, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' ? address?.port : undefined));
    });
  });
}

async function openLog(dir: string) {
  const path = logFile(dir);
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  if (size > logKeptBytes) await rename(path, `${path}.1`);
  return open(path, 'a', 0o600);
}

/** What passes by itself: another server giving way, orphans of a killed one, a port taken in between. */
const passing = /another postmaster|shared memory block|could not bind|already exists/;

function notStarted(dir: string, reason: string): AppError {
  return new AppError(
    'database.unreachable',
    `the embedded PostgreSQL did not start (log: ${logFile(dir)}): ${reason}`,
    {
      details: { log: logFile(dir) },
      retryable: passing.test(reason),
    },
  );
}

async function logSince(dir: string, start: number): Promise<string> {
  const text = (await readFile(logFile(dir))).subarray(start).toString('utf8');
  return text.slice(-logTailChars).trim();
}

/** Where and as whom to connect to a cluster. */
export interface ClusterPlace {
  readonly port: number;
  readonly database: string;
  readonly login: ClusterLogin;
}

/** Connection URL of a database in the cluster. Holds the password. */
export async function clusterUrl({ dir }: Cluster, { port, database, login }: ClusterPlace): Promise<string> {
  const password = (await readFile(passwordPath(dir, login), 'utf8')).trim();
  return `postgres://${login.role}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
}

/** The password of a login as its file says; the file is made, whole or not at all, when there is none. Resolved means on disk. */
export async function ensurePassword(
  { dir, account }: Cluster,
  login: ClusterLogin,
  newPassword: () => string,
): Promise<string> {
  const path = passwordPath(dir, login);
  const kept = (await readFile(path, 'utf8').catch(() => '')).trim();
  if (kept !== '') return kept;
  const password = newPassword();
  const staging = `${path}.new-${process.pid}`;
  await writeOwned(staging, `${password}\n`, account);
  await rename(staging, path);
  await syncFolder(dir);
  return password;
}

async function makeOwnedDir(path: string, account: ServerAccount | undefined): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { mode: 0o700 });
  if (account !== undefined) await chown(path, account.uid, account.gid);
}

async function writeOwned(path: string, text: string, account: ServerAccount | undefined): Promise<void> {
  await rm(path, { force: true });
  await writeNewDurably(path, text);
  if (account !== undefined) await chown(path, account.uid, account.gid);
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
