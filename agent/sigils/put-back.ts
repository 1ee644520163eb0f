import { constants, copyFile, lstat, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { makeFolder, syncFile, syncFolder } from '../data/durable-file.ts';
import { troubleOf } from '../outbox/level-store.ts';
import { keptPath } from './kept/kept-files.ts';

/** A record, and the store it goes into. */
export interface PutBack {
  readonly path: string;
  readonly key: Buffer;
  readonly value: Buffer;
  /** What stood there when this was decided; undefined when nobody can tell. */
  readonly instead: Buffer | null | undefined;
}

/**
 * The one place where a sigil store is opened as a database, and written: a single record, durably. Opening replays the log into a new
 * table and begins a new MANIFEST, as at every start of the store's owner.
 * @throws AppError `state.busy` while somebody has it open, `state.conflict` when the record is not what it was any more, `store.*`
 *   when it cannot be opened or written
 */
export async function putBack({ path, key, value, instead }: PutBack): Promise<void> {
  if (await isLocked(path)) throw inUse(path);
  const db = new ClassicLevel<Buffer, Buffer>(path, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  try {
    await db.open({ createIfMissing: false });
  } catch (cause) {
    if (troubleOf(cause) !== 'locked') throw failed(`${path} cannot be opened`, cause);
    throw inUse(path, cause);
  }
  try {
    if (instead !== undefined) await requireUnchanged(db, key, instead, path);
    await db.put(key, value, { sync: true });
  } catch (cause) {
    throw cause instanceof AppError ? cause : failed(`${path} cannot be written`, cause);
  } finally {
    await db.close();
  }
}

function inUse(path: string, cause?: unknown): AppError {
  return new AppError('state.busy', `sigil store ${path} is in use: stop the program that owns it, and try again`, {
    retryable: true,
    cause,
  });
}

/**
 * Whether somebody holds LevelDB's lock, as far as the kernel tells (Linux, and processes that can be seen from here). An attempt to
 * open finds it out everywhere, but begins a new LOG file in the store even when it fails.
 */
async function isLocked(path: string): Promise<boolean> {
  const lock = await stat(join(path, 'LOCK')).catch(() => undefined);
  const locks = await readFile('/proc/locks', 'latin1').catch(() => '');
  // `1: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 EOF` (proc_locks(5)); the device is not always the one that stat tells.
  return (
    lock !== undefined && locks.split('\n').some((line) => line.split(/\s+/)[5]?.split(':')[2] === String(lock.ino))
  );
}

async function requireUnchanged(
  db: ClassicLevel<Buffer, Buffer>,
  key: Buffer,
  instead: Buffer | null,
  path: string,
): Promise<void> {
  const now: Buffer | undefined = await db.get(key);
  if (instead === null ? now === undefined : now?.equals(instead) === true) return;
  throw new AppError('state.conflict', `the record has changed in ${path} meanwhile; look at it again`, {
    retryable: true,
  });
}

function failed(what: string, cause: unknown): AppError {
  const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
  return new AppError('store.unreadable', `sigil store ${what}: ${reason}`, { cause });
}

/**
 * Whose files a store's are, he goes on owning: whoever opens it makes new ones. Root becomes the owner, for good.
 * @throws AppError `auth.required` for any other user; `store.missing`, `store.unreadable`
 */
export async function becomeOwner(path: string): Promise<void> {
  const owner = await stat(path).catch((cause: unknown) => {
    const code = errnoOf(cause) === 'ENOENT' ? 'store.missing' : 'store.unreadable';
    throw new AppError(code, `sigil store ${path} cannot be looked at (${errnoOf(cause)})`, { cause });
  });
  const user = process.geteuid?.();
  if (user === undefined || user === owner.uid) return;
  if (user !== 0) {
    throw new AppError(
      'auth.required',
      `sigil store ${path} belongs to user ${owner.uid}: put records back as that user, or as root`,
    );
  }
  process.setgroups?.([owner.gid]);
  process.setegid?.(owner.gid);
  process.seteuid?.(owner.uid);
}

const replacedByOpening = /^(CURRENT|MANIFEST-\d+|\d+\.log)$/;
const asidePrefix = 'before-';

/**
 * Copies what opening the store replaces: a log that is damaged is read as far as it goes, and then deleted. The newest few such
 * copies stay.
 * @param shelf where the store's snapshots are
 * @returns the folder of the copy
 * @throws AppError `store.unreadable` where one of them is no file: a FIFO would keep us, and LevelDB, waiting, and a link may lead to
 *   what only root may read; the file system's error
 */
export async function copyAside(path: string, shelf: string, id: string): Promise<string> {
  const names = (await readdir(path)).filter((name) => replacedByOpening.test(name));
  for (const name of names) {
    if ((await lstat(join(path, name))).isFile()) continue;
    throw new AppError('store.unreadable', `${join(path, name)} is not a regular file; nothing was changed`);
  }
  const folder = join(shelf, `${asidePrefix}${id}`);
  await makeFolder(folder);
  for (const name of names) {
    const copy = keptPath(folder, name);
    await copyFile(join(path, name), copy, constants.COPYFILE_FICLONE);
    await syncFile(copy);
  }
  await syncFolder(folder);
  const all = (await readdir(shelf)).filter((name) => name.startsWith(asidePrefix)).sort();
  for (const name of all.slice(0, -limits.copiesAsideKept))
    await rm(join(shelf, name), { recursive: true, force: true });
  return folder;
}
