import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, readFileSync } from 'node:fs';
import { appendFile, chown, cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Binaries, locateBinaries, type ServerAccount, serverAccount } from '../collector/postgres/binaries.ts';
import { connectClient } from '../collector/postgres/pool.ts';
import { freePort } from './free-port.ts';
import { takeCareOf } from './system.ts';
import { until } from './until.ts';

const run = promisify(execFile);
const startDeadlineMs = 60_000;
const user = 'sigilwatch';
export const standbyName = 'standby';

/** A PostgreSQL server of its own, that can be killed, and started again on the same port. Anybody on this machine may use it. */
export interface Server {
  readonly port: number;
  /** Of its data. */
  readonly dir: string;
  /** Of the database that every server has. */
  readonly url: string;
  start(): Promise<void>;
  /** The power fails: SIGKILL to all of it. */
  kill9(): Promise<void>;
  /** Its buffers are written, and what standbys lack is sent to them. */
  stop(): Promise<void>;
  /** Runs one statement as a superuser. @returns its rows. */
  sql(text: string): Promise<readonly Record<string, unknown>[]>;
}

/** How servers are run on this machine. */
export interface ServerPrograms {
  readonly binaries: Binaries;
  /** PostgreSQL does not run as root. */
  readonly account: ServerAccount | undefined;
}

/** The programs that the embedded database runs. */
export async function embeddedPrograms(dir: string): Promise<ServerPrograms> {
  const account = await serverAccount();
  return { binaries: await locateBinaries(dir, account), account };
}

/** A folder that servers can write into. */
export async function folderFor({ account }: ServerPrograms, dir: string): Promise<string> {
  await mkdir(dir, { mode: 0o700 });
  if (account !== undefined) await chown(dir, account.uid, account.gid);
  return dir;
}

/** A new cluster in `dir`, not started yet. @param settings more lines of `postgresql.conf`. */
export async function makeServer(
  programs: ServerPrograms,
  dir: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<Server> {
  const { binaries, account } = programs;
  await folderFor(programs, dir);
  const options = ['-D', dir, '-U', user, '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync'];
  await run(binaries.initdb, options, { ...account, cwd: dir });
  const port = await freePort();
  // What is killed here are programs, not the machine: nothing waits for a disk.
  await configure(dir, { listen_addresses: '127.0.0.1', unix_socket_directories: '', port: `${port}`, fsync: 'off' });
  await configure(dir, settings);
  return serverIn(programs, dir, port);
}

/** A copy of a server that is not running, made a standby that follows it. Not started yet. */
export async function makeStandby(programs: ServerPrograms, primary: Server, dir: string): Promise<Server> {
  await copyCluster(programs, primary.dir, dir);
  const port = await freePort();
  const follow = `host=127.0.0.1 port=${primary.port} user=${user} application_name=${standbyName}`;
  await configure(dir, { port: `${port}`, primary_conninfo: follow });
  await mark(programs, dir, 'standby.signal');
  return serverIn(programs, dir, port);
}

/** Two servers that run, the second following the first, which answers no commit before that one has it. */
export async function startPair(programs: ServerPrograms, dir: string): Promise<{ primary: Server; standby: Server }> {
  const primary = await makeServer(programs, join(dir, 'primary'));
  const standby = await makeStandby(programs, primary, join(dir, 'standby'));
  await primary.start();
  await standby.start();
  await primary.sql(`alter system set synchronous_standby_names = '${standbyName}'`);
  await primary.sql('select pg_reload_conf()');
  const state = 'select sync_state from pg_stat_replication';
  await until('the standby is in step', async () => (await primary.sql(state))[0]?.sync_state === 'sync', 30_000);
  return { primary, standby };
}

export async function copyCluster({ account }: ServerPrograms, from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true });
  if (account !== undefined) await run('chown', ['-R', `${account.uid}:${account.gid}`, to]);
}

/** An empty file that tells the server what it is to do when it starts. */
export async function mark({ account }: ServerPrograms, dir: string, name: string): Promise<void> {
  await writeFile(join(dir, name), '');
  if (account !== undefined) chownSync(join(dir, name), account.uid, account.gid);
}

export function configure(dir: string, settings: Readonly<Record<string, string>>): Promise<void> {
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`);
  return appendFile(join(dir, 'postgresql.conf'), lines.join(''));
}

export function serverIn({ binaries, account }: ServerPrograms, dir: string, port: number): Server {
  const url = `postgres://${user}@127.0.0.1:${port}/postgres`;
  let end = async (_signal: NodeJS.Signals) => {};
  const sql = async (text: string) => {
    const client = await connectClient({ url, applicationName: 'test' });
    try {
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end();
    }
  };
  const answers = () =>
    sql('select 1').then(
      () => true,
      () => false,
    );
  return {
    ...{ port, dir, url, sql },
    start: async () => {
      // Ctrl-C is for us alone.
      const child = spawn(binaries.postgres, ['-D', dir], { ...account, cwd: dir, detached: true, stdio: 'ignore' });
      const ended = once(child, 'exit');
      const removeNow = () => void (child.pid !== undefined && child.exitCode === null && killAll(child.pid));
      const forget = takeCareOf({ remove: () => end('SIGINT'), removeNow });
      end = async (signal) => {
        if (signal === 'SIGKILL') removeNow();
        else child.kill(signal);
        await ended;
        forget();
        end = async () => {};
      };
      await until(`the server in ${dir} answers`, answers, startDeadlineMs);
    },
    kill9: () => end('SIGKILL'),
    stop: () => end('SIGINT'),
  };
}

/** None of its processes gets to write anything more. Each leads a session of its own, so no group holds them all. */
function killAll(pid: number): void {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
  for (const each of [pid, ...children.map(Number)]) {
    try {
      process.kill(each, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}
