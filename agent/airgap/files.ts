import { constants } from 'node:fs';
import { open, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { damagedManifest, manifestFile } from '../../common/bundle/manifest.ts';
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

/** Makes a new file that only its owner may read; resolves when it is on disk. @throws AppError `state.conflict`, and as `fill` */
export async function copyInto(
  path: string,
  fill: (write: (piece: Buffer) => Promise<void>) => Promise<void>,
): Promise<void> {
  const refuse = (cause: unknown) => Promise.reject(unwritable(path, cause));
  const file = await open(path, 'wx', 0o600).catch(refuse);
  try {
    await fill((piece) => file.appendFile(piece).catch(refuse));
    await file.sync().catch(refuse);
  } finally {
    await file.close();
  }
}

/** Gives a finished file or folder its name: what a crash leaves has the other one. */
export async function nameDurably(unfinished: string, path: string): Promise<void> {
  try {
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
