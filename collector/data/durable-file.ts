import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { errnoOf } from '../../common/errors.ts';

/**
 * Puts a file with this text in the place of whatever is there, readable by its owner only unless told otherwise; after a crash it is
 * the one or the other, whole.
 */
export async function replaceFile(path: string, text: string, mode = 0o600): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeNewDurably(temporary, text, mode);
    await rename(temporary, path);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
  await syncFolder(dirname(path));
}

/** Writes a file that is not there yet, and waits until its contents are on disk; its name is not, before its folder is synced. */
export async function writeNewDurably(path: string, text: string, mode = 0o600): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes what was renamed in a folder survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * Makes a folder, closed to others unless told otherwise, with all that lead to it, unless it is there; resolved means that a power cut cannot undo it. It may
 * have been made by a process that was killed before that, so its name is made safe in any case.
 */
export async function makeFolder(path: string, mode = 0o700): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode });
  const first = made === undefined ? resolve(path) : resolve(made);
  for (let at = resolve(path); at.length >= first.length && at !== dirname(at); at = dirname(at)) {
    await syncFolder(dirname(at)).catch(ignoreClosed);
  }
}

/** A folder of somebody else may be one to pass through and not to read; its names are safe when its file system says so. */
function ignoreClosed(thrown: unknown): void {
  if (!['EACCES', 'EPERM', 'EINVAL', 'EROFS'].includes(errnoOf(thrown) ?? '')) throw thrown;
}
