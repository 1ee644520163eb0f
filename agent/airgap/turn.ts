import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { takeRunLock } from '../data/run-lock.ts';
import { unwritable } from './files.ts';
import { dropUnfinished, unfinishedFolder } from './returned.ts';

/**
 * Does what one command at a time may do: two exports to one folder would write into each other's parts, and of two imports the one would
 * bring what the other takes in. Holds while the process lives.
 * @throws AppError `state.busy` while another export or import is under way, `state.conflict`; as `work`.
 */
export async function oneAtATime<T>(dataDir: string, work: () => Promise<T>): Promise<T> {
  const folder = join(dataDir, 'air-gap');
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((cause: unknown) =>
    Promise.reject(unwritable(folder, cause)),
  );
  const giveBack = await takeRunLock(folder, 'export or import of a bundle');
  try {
    return await work();
  } finally {
    await giveBack();
  }
}

/** Removes what an import that was killed has left on the disk of the outbox; one that is under way is left alone. Never rejects. */
export async function dropAbandoned(dataDir: string): Promise<void> {
  try {
    await stat(unfinishedFolder(dataDir));
    await oneAtATime(dataDir, () => dropUnfinished(dataDir));
  } catch {
    // None is there, or somebody brings one at this moment; the next import begins by removing it, too.
  }
}
