import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
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
  progressVersion,
  type Resumption,
  resumable,
  unfinishedCopy,
  writeProgress,
} from './progress.ts';
import type { EntrySorter, Run } from './sorter.ts';

export interface CheckpointOptions extends Resumption {
  /** Path of the two files, before their endings. */
  readonly position: string;
  /** Whatever was left of an earlier scan counts for nothing. */
  readonly fromStart?: boolean;
  /** Tables read between two checkpoints, in bytes. */
  readonly everyBytes?: number;
}

/**
 * Remembers how far a full scan has come, so that one that is cut short goes on from there. Two files: `.taking` with the sorted runs of
 * what is taken down, and `.progress`, which says what of it counts.
 *
 * Crash points: the runs are on disk before `.progress` speaks of them, and only grow; what is behind its word is cut off. Without a
 * word that is believed, the scan begins anew.
 */
export class Checkpoints {
  readonly spill: HashedFile;
  private readonly options: CheckpointOptions;
  private readonly paths: SpillPaths;
  private readonly startedAt: string;
  private readonly tables: Progress['tables'];
  private bytes: number;
  private nextAtBytes: number;
  private isWritten: boolean;

  private constructor(options: CheckpointOptions, paths: SpillPaths, spill: HashedFile, from: Progress | null) {
    this.options = options;
    this.paths = paths;
    this.spill = spill;
    this.startedAt = from?.startedAt ?? beginning(options.clock);
    this.tables = [...(from?.tables ?? [])];
    this.bytes = sumOf(this.tables).bytes;
    this.isWritten = from !== null;
    this.nextAtBytes = this.nextAfter(this.bytes);
  }

  /** @throws AppError `state.conflict` */
  static async begin(options: CheckpointOptions, pacer: Pacer): Promise<Begun> {
    const { position, fromStart = false } = options;
    const paths = { spill: `${position}.taking`, progress: `${position}.progress` };
    await removeTorn(paths);
    const found = fromStart ? null : await resumable(paths, options, pacer);
    if (found === null || 'refused' in found) {
      // First, or its word would count for what comes into the other.
      await refusing(paths.progress, () => unlinkIfThere(paths.progress));
      const checkpoints = new Checkpoints(options, paths, await emptySpill(paths.spill), null);
      return { checkpoints, resumed: null, refused: found?.refused ?? null };
    }
    const { progress, spill } = found;
    const { startedAt, tables } = progress;
    const resumed = { startedAt, tables, counts: sumOf(tables), runs: progress.spill.runs };
    return { checkpoints: new Checkpoints(options, paths, spill, progress), resumed, refused: null };
  }

  /** A table was read, and there is nothing to say of it. True when {@link write} is to be called. */
  add(table: string, fingerprint: string, read: ScanCounts): boolean {
    if (this.tables.length >= limits.sigilMaxRememberedTables) return false;
    this.tables.push([table, fingerprint, read]);
    this.bytes += read.bytes;
    return this.bytes >= this.nextAtBytes;
  }

  /** @param sorter null where nothing is taken down. @throws AppError `state.conflict` */
  async write(sorter: EntrySorter | null): Promise<void> {
    await sorter?.relieve();
    const { spill, startedAt, tables, options } = this;
    await spill.sync();
    const { judge, folder, highestFile } = options;
    const written = { bytes: spill.bytes, sha256: spill.sha256, runs: [...(sorter?.sortedRuns ?? [])] };
    await writeProgress(this.paths.progress, {
      ...{ version: progressVersion, startedAt, judge, folder, highestFile, tables },
      spill: written,
    });
    this.isWritten = true;
    this.nextAtBytes = this.nextAfter(this.bytes);
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

function sumOf(tables: Progress['tables']): ScanCounts {
  return tables.reduce((sum, [, , read]) => addedCounts(sum, read), noCounts);
}

interface Begun {
  readonly checkpoints: Checkpoints;
  /** Null when it begins anew. */
  readonly resumed: Resumed | null;
  /** Why it does not go on with one that was cut short; null when it does, or there was none. */
  readonly refused: string | null;
}

/** What a scan need not do again. */
export interface Resumed {
  readonly startedAt: string;
  readonly tables: readonly (readonly [name: string, fingerprint: string, read: ScanCounts])[];
  readonly counts: ScanCounts;
  readonly runs: readonly Run[];
}

/** What kills have left of files that were being written. @throws AppError `state.conflict` */
async function removeTorn({ progress, spill }: SpillPaths): Promise<void> {
  const folder = dirname(progress);
  const begins = `${basename(progress)}.`;
  await refusing(folder, async () => {
    const torn = (await readdir(folder)).filter((name) => name.startsWith(begins) && name.endsWith('.tmp'));
    for (const path of [...torn.map((name) => join(folder, name)), unfinishedCopy(spill)]) await unlinkIfThere(path);
  });
}

interface SpillPaths {
  readonly spill: string;
  readonly progress: string;
}
