import { join } from 'node:path';
import { fsStoreFiles } from '../fs-store-files.ts';
import type { StoreFiles } from '../store-files.ts';

/**
 * Behind every name in a snapshot. LevelDB knows none of its files by such a name, so whoever opens a snapshot as a database gets an
 * empty one beside it, and neither the snapshot nor the store whose tables it shares is touched.
 */
export const keptSuffix = '.kept';

/** A snapshot, or one in the making, as the store that it was taken of. */
export function keptFiles(folder: string): StoreFiles {
  const files = fsStoreFiles(folder);
  return {
    path: folder,
    list: async () => (await files.list()).flatMap((name) => nameOf(name) ?? []),
    stamp: (name) => files.stamp(`${name}${keptSuffix}`),
    open: async (name) => {
      const file = await files.open(`${name}${keptSuffix}`);
      return file && { ...file, name };
    },
  };
}

/** Where a file of the store stands in a snapshot. */
export function keptPath(folder: string, name: string): string {
  return join(folder, `${name}${keptSuffix}`);
}

function nameOf(name: string): string | undefined {
  return name.endsWith(keptSuffix) ? name.slice(0, -keptSuffix.length) : undefined;
}
