import { randomUUID } from 'node:crypto';
import { chown, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { errnoOf } from '../../common/errors.ts';

/** Only the owner may read or write. */
export const ownerOnlyMode = 0o600;

/**
 * Puts a file with these contents in place of whatever is there, readable by its owner only unless told otherwise. After a crash
 * at any moment the path holds the old contents or the new ones, whole.
 */
export async function writeDurably(path: string, contents: string, mode = ownerOnlyMode): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, 'wx', ownerOnlyMode);
    try {
      await file.writeFile(contents);
      if (mode !== ownerOnlyMode) await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await renameDurably(temporary, path);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
}

/** Renames within a folder; resolved means that a power cut cannot undo it. */
export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolder(dirname(to));
}

/** Makes what was created, renamed or removed in a folder outlast a power cut. */
export function syncFolder(path: string): Promise<void> {
  return sync(path);
}

/** Makes what others have written to a file outlast a power cut; its name is another matter. */
export function syncFile(path: string): Promise<void> {
  return sync(path);
}

/** Makes a folder outlast a power cut with all that is below it, but for its own name. */
export async function syncTree(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await syncTree(join(path, entry.name));
    else if (entry.isFile()) await syncFile(join(path, entry.name));
  }
  await syncFolder(path);
}

/** What a command has left belongs to the owner of that folder, though it may have run as root; not even a power cut changes that. */
export async function giveToOwnerOf(folder: string, path: string): Promise<void> {
  const { uid, gid } = await stat(folder);
  if ((await stat(path)).uid === uid) return;
  await chown(path, uid, gid);
  await sync(path);
}

async function sync(path: string): Promise<void> {
  const opened = await open(path, 'r');
  try {
    await opened.sync();
  } finally {
    await opened.close();
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
