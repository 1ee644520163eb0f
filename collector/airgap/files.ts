import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { damagedManifest, type FileStamp, manifestFile } from '../../common/bundle/manifest.ts';
import { AppError, cannotWrite, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { syncFolder } from '../data/durable-file.ts';

/** The text of a folder's manifest; undefined when it has none. @throws AppError `bundle.damaged`, `validation.request`. */
export async function manifestText(folder: string): Promise<string | undefined> {
  const path = join(folder, manifestFile);
  const found = await stat(path).catch((cause: unknown) => {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw unreadable(path, cause);
  });
  if (found === undefined) return undefined;
  if (found.size > limits.maxBundleManifestBytes) throw damagedManifest(`${found.size} bytes are too many`);
  const pieces: Buffer[] = [];
  for await (const piece of piecesOf(path)) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

/** Names in a folder. @throws AppError `validation.request` when it cannot be read. */
export async function namesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch((cause: unknown) => {
    const reason = errnoOf(cause) === 'ENOENT' ? 'is not there' : `cannot be read (${errnoOf(cause) ?? String(cause)})`;
    throw new AppError('validation.request', `${folder} ${reason}: name the folder that bundles are in`, { cause });
  });
}

/**
 * What is in a file, never followed to another one. A pipe or a device, which may never end, is none.
 * @throws AppError `bundle.damaged`, `validation.request`.
 */
export async function* piecesOf(path: string): AsyncGenerator<Buffer, void> {
  const refuse = (cause: unknown) => Promise.reject(unreadable(path, cause));
  // Without waiting: to open a pipe would take until somebody writes to it.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(refuse);
  try {
    if (!(await file.stat()).isFile()) {
      throw new AppError('bundle.damaged', `${path} is no file`, { details: { file: path } });
    }
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(pieceBytes), 0, pieceBytes).catch(refuse);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

const pieceBytes = 256 * 1024;

/** Writes one file of a bundle, and knows its hash. */
export interface StampedFile {
  write(piece: Buffer): Promise<void>;
  /** Resolves when it is on disk. */
  close(): Promise<FileStamp>;
  /** Removes what was written. */
  abandon(): Promise<void>;
}

/** A new file. @throws AppError `state.conflict` when it cannot be written. */
export async function createStamped(folder: string, file: string): Promise<StampedFile> {
  const path = join(folder, file);
  const refuse = (cause: unknown) => Promise.reject(unwritable(path, cause));
  const handle: FileHandle = await open(path, 'wx', 0o644).catch(refuse);
  const digest = createHash('sha256');
  let sizeBytes = 0;
  return {
    write: async (piece) => {
      digest.update(piece);
      sizeBytes += piece.length;
      await handle.appendFile(piece).catch(refuse);
    },
    close: async () => {
      await handle
        .sync()
        .finally(() => handle.close())
        .catch(refuse);
      return { file, sizeBytes, sha256: digest.digest('hex') };
    },
    abandon: async () => {
      await handle.close();
      await rm(path, { force: true });
    },
  };
}

/** Writes a file in as many parts as it takes to keep each within `maxBytes`, and knows their hashes. */
export interface StampedParts {
  write(piece: Buffer): Promise<void>;
  /** Resolves when all of them are on disk. */
  close(): Promise<readonly FileStamp[]>;
  /** Removes what was written. */
  abandon(): Promise<void>;
}

/** @param nameOf the name of each part, numbered from 1. @throws AppError `state.conflict` when one cannot be written. */
export function createParts(folder: string, nameOf: (number: number) => string, maxBytes: number): StampedParts {
  const done: FileStamp[] = [];
  let open: { readonly file: StampedFile; bytes: number } | undefined;
  const next = async () => ({ file: await createStamped(folder, nameOf(done.length + 1)), bytes: 0 });
  const finish = async (): Promise<void> => {
    if (open === undefined) return;
    const { file } = open;
    open = undefined;
    done.push(await file.close());
  };
  return {
    write: async (piece) => {
      for (let at = 0; at < piece.length; ) {
        if (open?.bytes === maxBytes) await finish();
        open ??= await next();
        const some = piece.subarray(at, at + maxBytes - open.bytes);
        await open.file.write(some);
        open.bytes += some.length;
        at += some.length;
      }
    },
    close: async () => {
      await finish();
      return done;
    },
    abandon: async () => {
      await open?.file.abandon();
      for (const { file } of done) await rm(join(folder, file), { force: true });
    },
  };
}

/**
 * Gives a finished folder its name, in the place of one that is there.
 * Crash points: the old one is gone and the new one lacks its name; then it is made anew by the next run.
 */
export async function putInPlace(unfinished: string, path: string): Promise<void> {
  try {
    await syncFolder(unfinished);
    await rm(path, { recursive: true, force: true });
    await rename(unfinished, path);
    await syncFolder(dirname(path));
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

export function unwritable(path: string, cause: unknown): AppError {
  if (cause instanceof AppError) return cause;
  return new AppError('state.conflict', cannotWrite(path, cause, process.geteuid?.()), { cause });
}

function unreadable(path: string, cause: unknown): AppError {
  if (cause instanceof AppError) return cause;
  const errno = errnoOf(cause);
  if (errno === 'ENOENT' || errno === 'ELOOP') {
    return new AppError('bundle.damaged', `${path} is missing`, { cause, details: { file: path } });
  }
  return new AppError('validation.request', `${path} cannot be read (${errno ?? String(cause)})`, { cause });
}
