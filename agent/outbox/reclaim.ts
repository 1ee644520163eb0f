import { entryRange } from './layout.ts';
import type { OutboxDb } from './level-store.ts';

/** Gives the space of deleted entries back to the disk; LevelDB by itself keeps it until it happens to merge tables. */
export interface Reclaim {
  /**
   * To be told of every deletion; starts a compaction of the keys before `end` now and then, beside everything else.
   * What is still queued stays out of it, so that draining a long queue does not rewrite it over and over.
   * `afterBytes` is how much is worth one.
   */
  freed(db: OutboxDb, bytes: number, end: string, afterBytes: number): void;
  /** Waits for the compaction under way, without which the database cannot be closed. */
  settled(): Promise<void>;
}

export function createReclaim(): Reclaim {
  let bytesFreed = 0;
  let running: Promise<void> | undefined;
  return {
    freed(db, bytes, end, afterBytes) {
      bytesFreed += bytes;
      if (running !== undefined || bytesFreed < afterBytes) return;
      bytesFreed = 0;
      running = db
        .compactRange(entryRange.gte, end)
        // A compaction that fails makes the next write fail, and that one is answered for.
        .catch(() => undefined)
        .finally(() => {
          running = undefined;
        });
    },
    async settled() {
      await running;
    },
  };
}
