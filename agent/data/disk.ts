import { statfs } from 'node:fs/promises';
import type { Body } from '../../common/kinds.ts';

export type DiskSpace = NonNullable<Body<'report'>['disk']>;

/**
 * How much is free on the file system of a folder, as its owner sees it: what is reserved for root counts neither as free nor as part of
 * the whole, as in `df`. Undefined where the system does not say.
 */
export async function diskSpace(dir: string): Promise<DiskSpace | undefined> {
  try {
    const { blocks, bfree, bavail, bsize } = await statfs(dir);
    return { freeBytes: bytesOf(bavail, bsize), totalBytes: bytesOf(blocks - bfree + bavail, bsize) };
  } catch {
    // A report without it says all that it said before there was such a thing.
    return undefined;
  }
}

/** Some network file systems call themselves larger than a number in an entry may be. */
function bytesOf(blocks: number, blockBytes: number): number {
  return Math.min(Math.max(0, Math.floor(blocks * blockBytes)), Number.MAX_SAFE_INTEGER);
}
