import { limits } from '../../../common/limits.ts';
import type { Pacer } from '../pacer.ts';
import type { ScanCounts } from '../scan-counts.ts';
import { addedCounts, noCounts } from '../scan-counts.ts';
import { refusing, unlinkIfThere } from './byte-file.ts';
import {
  beginning,
  emptySpill,
  type HashedFile,
  type Progress,
  type Resumption,
  resumable,
  writeProgress,
} from './progress.ts';
import type { EntrySorter, Run } from './sorter.ts';

export interface CheckpointOptions extends Resumption {
  /** Tables read between two checkpoints, in bytes. */
  readonly everyBytes?: number;
}

/**
 * Remembers how far a full scan has come, so that one that is cut short goes on from there. Two files beside the inventory: `.taking` with the
 * sorted runs, and `.progress`, which says what of it counts.
 *
 * Crash points: the runs are on disk before `.progress` speaks of them, and only grow; what is behind its word is cut off. Without a
 * word that is believed, the scan begins anew.
 */
export class Checkpoints {
  readonly spill: HashedFile;
  private readonly options: CheckpointOptions;
  private readonly paths: SpillPaths;
  private readonly startedAt: string;
  private readonly tables: [string, string][];
  private counts: ScanCounts;
  private nextAtBytes: number;
  private isWritten: boolean;

  private constructor(options: CheckpointOptions, paths: SpillPaths, spill: HashedFile, from: Progress | null) {
    this.options = options;
    this.paths = paths;
    this.spill = spill;
    this.startedAt = from?.startedAt ?? beginning(options.clock);
    this.tables = [...(from?.tables ?? [])];
    this.counts = from?.counts ?? noCounts;
    this.isWritten = from !== null;
    this.nextAtBytes = this.nextAfter(this.counts.bytes);
  }

  /** @throws AppError `state.conflict` */
  static async begin(
    options: CheckpointOptions,
    inventory: string,
    pacer: Pacer,
  ): Promise<{ readonly checkpoints: Checkpoints; readonly resumed: Resumed | null }> {
    const paths = { spill: `${inventory}.taking`, progress: `${inventory}.progress` };
    const found = await resumable(paths, options, pacer);
    if (found === null) {
      // First, or its word would count for what comes into the other.
      await unlinkIfThere(paths.progress);
      return { checkpoints: new Checkpoints(options, paths, await emptySpill(paths.spill), null), resumed: null };
    }
    const { progress, spill } = found;
    const { startedAt, tables, counts } = progress;
    const resumed = { startedAt, tables, counts, runs: progress.spill.runs };
    return { checkpoints: new Checkpoints(options, paths, spill, progress), resumed };
  }

  /** A table was read, and there is nothing to say of it. True when {@link write} is to be called. */
  add(table: string, fingerprint: string, read: ScanCounts): boolean {
    if (this.tables.length >= limits.sigilMaxRememberedTables) return false;
    this.tables.push([table, fingerprint]);
    this.counts = addedCounts(this.counts, read);
    return this.counts.bytes >= this.nextAtBytes;
  }

  /** @throws AppError `state.conflict` */
  async write(sorter: EntrySorter): Promise<void> {
    await sorter.relieve();
    const { spill, startedAt, tables, counts, options } = this;
    await spill.sync();
    const { judge, highestFile } = options;
    const written = { bytes: spill.bytes, sha256: spill.sha256, runs: [...sorter.sortedRuns] };
    await writeProgress(this.paths.progress, {
      ...{ version: 1, startedAt, judge, highestFile, tables, counts },
      spill: written,
    });
    this.isWritten = true;
    this.nextAtBytes = this.nextAfter(counts.bytes);
  }

  /** The next scan begins anew. @throws AppError `state.conflict` */
  async forget(): Promise<void> {
    await refusing(this.paths.progress, () => unlinkIfThere(this.paths.progress));
  }

  /** Closes; what was written stays for the next scan, unless all is done. */
  async end(isDone: boolean): Promise<void> {
    await this.spill.close();
    if (this.isWritten && !isDone) return;
    await unlinkIfThere(this.paths.progress).catch(() => {});
    await unlinkIfThere(this.paths.spill).catch(() => {});
  }

  /** Further apart the more there is to write down. */
  private nextAfter(bytes: number): number {
    const { everyBytes = limits.fullScanCheckpointBytes } = this.options;
    return bytes + everyBytes + bytes / 16;
  }
}

/** What a scan need not do again. */
export interface Resumed {
  readonly startedAt: string;
  readonly tables: readonly (readonly [name: string, fingerprint: string])[];
  readonly counts: ScanCounts;
  readonly runs: readonly Run[];
}

interface SpillPaths {
  readonly spill: string;
  readonly progress: string;
}
