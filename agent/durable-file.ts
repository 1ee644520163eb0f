import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

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
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
