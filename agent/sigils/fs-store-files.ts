import type { BigIntStats } from 'node:fs';
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errnoOf } from '../../common/errors.ts';
import type { FileStamp, StoreFile, StoreFiles } from './store-files.ts';

/**
 * O_NONBLOCK: a FIFO under a table's name must not hang the scan. O_NOATIME (Linux): a scan should not cause a write
 * per file read, but only the owner and root may ask for it.
 */
const quietly = constants.O_RDONLY | constants.O_NONBLOCK | (constants.O_NOATIME ?? 0);
const plainly = constants.O_RDONLY | constants.O_NONBLOCK;

/** The folder at `path` through read-only file descriptors. */
export function fsStoreFiles(path: string): StoreFiles {
  return {
    path,
    list: () => listFolder(path),
    stamp: (name) => stampOf(join(path, name)),
    open: (name) => openFile(path, name),
  };
}

async function listFolder(path: string): Promise<readonly string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno === 'ENOENT') throw new AppError('store.missing', `sigil store ${path} does not exist`, { cause });
    if (errno === 'ENOTDIR') {
      throw new AppError('store.not_a_store', `sigil store ${path} is a file; give the folder`, { cause });
    }
    throw unreadable(path, cause);
  }
}

async function stampOf(path: string): Promise<FileStamp | null> {
  try {
    return stampFrom(await stat(path, { bigint: true }));
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return null;
    throw unreadable(path, cause);
  }
}

async function openFile(folder: string, name: string): Promise<StoreFile | null> {
  const path = join(folder, name);
  const handle = await openHandle(path);
  if (handle === null) return null;
  try {
    const stats = await handle.stat({ bigint: true });
    if (!stats.isFile()) throw new AppError('store.unreadable', `${path} is not a regular file`);
    return {
      name,
      ...stampFrom(stats),
      read: (target, position) => readFully(handle, path, target, position),
      close: () => handle.close(),
    };
  } catch (cause) {
    await handle.close();
    throw cause instanceof AppError ? cause : unreadable(path, cause);
  }
}

async function openHandle(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, quietly).catch((cause: unknown) => {
      if (errnoOf(cause) === 'EPERM') return open(path, plainly);
      throw cause;
    });
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return null;
    throw unreadable(path, cause);
  }
}

async function readFully(handle: FileHandle, path: string, target: Buffer, position: number): Promise<number> {
  let done = 0;
  try {
    while (done < target.length) {
      const { bytesRead } = await handle.read(target, done, target.length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
  } catch (cause) {
    throw unreadable(path, cause);
  }
  return done;
}

/** Without the device number, which may change with a reboot. */
function stampFrom(stats: BigIntStats): FileStamp {
  const identity = stats.ino.toString(36);
  const parts = [stats.size, stats.mtimeNs, stats.ctimeNs].map((part) => part.toString(36));
  return { bytes: Number(stats.size), identity, fingerprint: [identity, ...parts].join('.') };
}

/** Whether two fingerprints are of one file whose content nobody has touched: linking it changes its status, and nothing else. */
export function sameButForStatus(left: string, right: string): boolean {
  return left.slice(0, left.lastIndexOf('.')) === right.slice(0, right.lastIndexOf('.'));
}

function unreadable(path: string, cause: unknown): AppError {
  const reason = errnoOf(cause) ?? 'unknown error';
  return new AppError('store.unreadable', `${path} cannot be read (${reason}); check its permissions and disk`, {
    cause,
  });
}
