import { once } from 'node:events';
import { link, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { AppError, cannotWrite, errnoOf } from '../../common/errors.ts';

/**
 * Writes a file that was not there before, whole or not at all: it gets its name only once everything in it is on disk.
 * Never over an existing file, which may be somebody's evidence.
 * @throws AppError `state.conflict` when it exists, `validation.request` when it cannot be written; and what `pieces` throws.
 */
export async function writeNewFile(path: string, pieces: AsyncIterable<string> | Iterable<string>): Promise<void> {
  if ((await stat(path).catch(() => undefined)) !== undefined) throw exists(path);
  const partial = `${path}.partial-${process.pid}`;
  const refuse = (cause: unknown) => Promise.reject(notWritable(path, cause));
  const file = await open(partial, 'wx', 0o644).catch(refuse);
  try {
    try {
      for await (const piece of pieces) await file.appendFile(piece).catch(refuse);
      await file.sync().catch(refuse);
    } finally {
      await file.close();
    }
    await giveName(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
}

/** Writes as fast as the other side takes it, until it takes no more: that is told to whoever listens for errors of `out`. */
export async function writePieces(out: Writable, pieces: AsyncIterable<string> | Iterable<string>): Promise<void> {
  let lost = false;
  const lose = () => {
    lost = true;
  };
  out.once('error', lose);
  try {
    for await (const piece of pieces) {
      // Rejects for errors of the stream alone.
      if (!out.write(piece)) await once(out, 'drain').catch(lose);
      if (lost) return;
    }
  } finally {
    out.off('error', lose);
  }
}

/** A link fails where a file exists, however late it came; a rename would put ours in its place. */
async function giveName(partial: string, path: string): Promise<void> {
  try {
    await link(partial, path);
  } catch (thrown) {
    if (errnoOf(thrown) === 'EEXIST') throw exists(path);
    // Some file systems, those of USB sticks above all, know no links.
    if ((await stat(path).catch(() => undefined)) !== undefined) throw exists(path);
    await rename(partial, path).catch((cause: unknown) => Promise.reject(notWritable(path, cause)));
  }
  // So that the name is on disk too, where a folder can be told to.
  const folder = await open(dirname(path), 'r');
  await folder
    .sync()
    .catch(() => {})
    .finally(() => folder.close());
}

function exists(path: string): AppError {
  return new AppError('state.conflict', `${path} exists already and is not overwritten`);
}

function notWritable(path: string, cause: unknown): AppError {
  return new AppError('validation.request', cannotWrite(path, cause, process.geteuid?.()), { cause });
}
