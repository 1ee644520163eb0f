import { randomFillSync } from 'node:crypto';
import { open, rm, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';

/**
 * A file that is only there to be deleted: a full disk then still has room for acknowledgements and for the count of
 * what was dropped, which is what makes it emptier. While it is missing the outbox takes no entries.
 */
export interface Reserve {
  readonly held: boolean;
  /** Gives the space to the outbox. */
  release(): Promise<void>;
  /** Allocates it again when there is room; looks at most every `limits.outboxReserveRetryMs`. */
  ensure(): Promise<void>;
}

/** Free space asked for beyond the file itself, as a share of it: re-making it must not fill the disk again. */
const headroomShare = 0.25;
const chunkBytes = 256 * 1024;

export async function openReserve(path: string, bytes: number, clock: Pick<Clock, 'monotonicMs'>): Promise<Reserve> {
  let held = await isAllocated(path, bytes);
  let triedAt = Number.NEGATIVE_INFINITY;
  const ensure = async (): Promise<void> => {
    if (held || clock.monotonicMs() - triedAt < limits.outboxReserveRetryMs) return;
    triedAt = clock.monotonicMs();
    held = await allocate(path, bytes);
  };
  await ensure();
  return {
    get held() {
      return held;
    },
    async release() {
      held = false;
      triedAt = clock.monotonicMs();
      await rm(path, { force: true });
    },
    ensure,
  };
}

async function isAllocated(path: string, bytes: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && found.size === bytes && found.blocks * 512 >= bytes;
}

/** Written out with noise: a sparse file reserves nothing, and neither does one of zeros on a compressing filesystem. */
async function allocate(path: string, bytes: number): Promise<boolean> {
  const { bavail, bsize } = await statfs(dirname(path));
  if (bavail * bsize < bytes * (1 + headroomShare)) return false;
  try {
    const file = await open(path, 'w', 0o600);
    try {
      const noise = randomFillSync(Buffer.allocUnsafe(chunkBytes));
      for (let left = bytes; left > 0; left -= chunkBytes) {
        await file.write(noise, 0, Math.min(left, chunkBytes));
      }
      await file.sync();
    } finally {
      await file.close();
    }
    return true;
  } catch {
    // Whatever the reason, the answer is the same: there is no reserve, and it will be tried again.
    await rm(path, { force: true });
    return false;
  }
}
