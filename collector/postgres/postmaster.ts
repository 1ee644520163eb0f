import { readFile, readlink, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, errnoOf } from '../../common/errors.ts';

/** A PostgreSQL server as it describes itself in its `postmaster.pid`. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
}

const pollMs = 25;

/**
 * The live server of a cluster, or undefined. A file left by a server that was killed does not count, nor does one whose
 * process id now belongs to something else.
 */
export async function runningPostmaster(clusterDir: string): Promise<Postmaster | undefined> {
  const text = await readOrUndefined(pidFile(clusterDir));
  // Line 1 is the process id, line 4 the port (PostgreSQL's `pidfile.h`).
  const [pidText = '', , , portText = ''] = text?.split('\n') ?? [];
  const pid = Number.parseInt(pidText, 10);
  const port = Number.parseInt(portText, 10);
  if (!(pid > 0) || !(await isServerOf(pid, clusterDir))) return undefined;
  return port > 0 ? { pid, port } : undefined;
}

/**
 * Removes a `postmaster.pid` whose process id now belongs to another program of the same user: PostgreSQL would refuse
 * to start. One whose process is gone is left to PostgreSQL, which also checks for orphans of the old server.
 */
export async function clearStalePidFile(clusterDir: string): Promise<void> {
  const pid = Number.parseInt((await readOrUndefined(pidFile(clusterDir))) ?? '', 10);
  if (pid > 0 && isAlive(pid) && !(await isServerOf(pid, clusterDir))) await rm(pidFile(clusterDir), { force: true });
}

/** Resolves once `done` answers true. @throws AppError `database.unreachable` with `late` after `timeoutMs`. */
export async function waitUntil(done: () => Promise<boolean>, timeoutMs: number, late: () => AppError): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await done())) {
    if (performance.now() > deadline) throw late();
    await sleep(pollMs);
  }
}

/**
 * Fast shutdown: sessions are cut, data is written, the server ends. One that does not end in time is stopped hard,
 * which is as safe as a power cut.
 */
export async function stopPostmaster(clusterDir: string, { pid }: Postmaster, timeoutMs: number): Promise<void> {
  const gone = async () => !(await isServerOf(pid, clusterDir));
  const late = () => new AppError('database.unreachable', `PostgreSQL (process ${pid}) does not stop`);
  if (!signal(pid, 'SIGINT')) return;
  try {
    await waitUntil(gone, timeoutMs, late);
  } catch {
    signal(pid, 'SIGQUIT');
    await waitUntil(gone, timeoutMs, late);
  }
}

/** A server works in its cluster's folder. Elsewhere than on Linux nobody can look, and being alive has to do. */
async function isServerOf(pid: number, clusterDir: string): Promise<boolean> {
  if (process.platform !== 'linux') return isAlive(pid);
  try {
    return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(clusterDir));
  } catch (thrown) {
    // A process that may be signalled and not looked at is our user's under another group. Taken for dead, a server that lives would lose
    // its `postmaster.pid` to us, and end itself. Else it is gone, a zombie, or another user's: in no case our server.
    return errnoOf(thrown) === 'EACCES' && isAlive(pid);
  }
}

function isAlive(pid: number): boolean {
  return signal(pid, 0);
}

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

function pidFile(clusterDir: string): string {
  return join(clusterDir, 'postmaster.pid');
}

async function readOrUndefined(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
}
