import { createHash } from 'node:crypto';
import { unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { makeFolder, renameDurably } from '../../data/durable-file.ts';
import type { Pacer } from '../pacer.ts';
import type { ScanCounts } from '../scan-counts.ts';
import { type AcceptedChange, AcceptedChanges } from './accepted.ts';
import { type ByteFile, emptyFile, namelessFile, presentFile, refusing, removeSpills } from './byte-file.ts';
import { Checkpoints, type Resumed } from './checkpoints.ts';
import { Comparison, type ComparisonSink } from './comparison.ts';
import type { EntryParts } from './entry.ts';
import type { EntryReader } from './entry-file.ts';
import { readInventory } from './inventory-file.ts';
import type { Resumption } from './progress.ts';
import { EntrySorter } from './sorter.ts';
import type { VersionSink } from './versions.ts';

/** Which inventory a full scan is compared with. */
export interface InventoryRequest {
  /** Its file. The folder is for temporary files, too. */
  readonly path: string;
  /** Whether a new one is made; otherwise it is only read, and where there is none, nothing is compared. */
  readonly keeps: boolean;
  /** Changes that the new one forgets about; none when absent. */
  readonly accepted?: readonly AcceptedChange[];
  /**
   * Path of what a scan leaves that is cut short, before its endings. When absent, it is `path` where a new inventory is made, and nothing
   * is left by others. No two scans may have the same at once.
   */
  readonly position?: string;
  /** What an earlier scan has left there counts for nothing. */
  readonly fromStart?: boolean;
  /** As {@link CheckpointOptions.everyBytes}. */
  readonly checkpointBytes?: number;
  /** Called before anything is read, if the scan goes on with one that was cut short. */
  readonly onResumed?: (resumed: ResumedScan) => void;
  /** Called likewise, with the reason, if there was one that it does not go on with. */
  readonly onRefused?: (why: string) => void;
}

/** What a scan has gone on with: when that was begun, RFC 3339 UTC, and what it had read. */
export interface ResumedScan extends ScanCounts {
  readonly startedAt: string;
}

/** What became of the inventory in a scan. Call `keep` or `drop`; both may be called again. */
export interface TakenInventory {
  /** Keys that the new one has. */
  readonly keys: number;
  /** Why the one before was of no use, so that nothing could be compared with it; null when it was, or there was none. */
  readonly anew: AppError | null;
  /** Why nothing, or not everything, was compared; there is no new one then. */
  readonly failed: AppError | null;
  /** Accepted changes that need not be known any longer once it is kept, by the ids of their findings. */
  readonly spent: readonly string[];
  /** The scan that this one has gone on with; null when there was none. */
  readonly resumed: ResumedScan | null;
  /**
   * Puts the new one, if one was made, in the place of the one before, and nobody goes on with the scan any more; resolved means that a
   * power cut cannot undo it.
   * @throws AppError `state.conflict`
   */
  keep(): Promise<void>;
  drop(): Promise<void>;
}

export interface TakingOptions extends InventoryRequest {
  readonly store: string;
  readonly pacer: Pacer;
  /** With which a scan that was cut short is gone on with; without, each begins anew. */
  readonly resumption?: Resumption;
}

/**
 * Takes the inventory of a store while everything in it is read: each stored version goes into a sorter, and at the end they are
 * compared with the inventory before. A disk that refuses ends the taking, and not the scan.
 *
 * Crash points: but for {@link Checkpoints}, everything but the new inventory is in files without names. That one stands beside the old, `PATH.new`, until its
 * findings have been told; a crash before that repeats them, and the next scan overwrites it.
 */
export class InventoryTaking implements VersionSink {
  private readonly options: TakingOptions;
  private spill: ByteFile | null = null;
  private target: ByteFile | null = null;
  private file: ByteFile | null = null;
  private before: EntryReader | null = null;
  private sorter: EntrySorter | null = null;
  private checkpoints: Checkpoints | null = null;
  private begun: Resumed | null = null;
  private anew: AppError | null = null;
  private failed: AppError | null = null;
  private keys = 0;
  private isMade = false;
  private readonly accepted: AcceptedChanges;

  private constructor(options: TakingOptions) {
    this.options = options;
    this.accepted = new AcceptedChanges(options.accepted ?? []);
  }

  /** Never rejects but with the signal's reason: what went wrong is in {@link result}. */
  static async begin(options: TakingOptions): Promise<InventoryTaking> {
    const taking = new InventoryTaking(options);
    await taking.unlessRefused(() => taking.open());
    return taking;
  }

  /** What need not be read again. */
  get resumed(): Resumed | null {
    return this.begun;
  }

  /** A table was read to its end, and there is nothing to say of it. */
  async tableIsFine(name: string, fingerprint: string, read: ScanCounts): Promise<void> {
    const { checkpoints, sorter } = this;
    if (checkpoints === null) return;
    if (checkpoints.add(name, fingerprint, read)) await this.unlessRefused(() => checkpoints.write(sorter));
  }

  /** Whether {@link relieve} is to be awaited before much more is added. */
  get isFull(): boolean {
    return this.sorter?.isFull ?? false;
  }

  add(parts: EntryParts): void {
    this.sorter?.add(parts);
  }

  async relieve(): Promise<void> {
    await this.unlessRefused(async () => this.sorter?.relieve());
  }

  async addAll(bytes: Buffer): Promise<void> {
    await this.unlessRefused(async () => this.sorter?.addAll(bytes));
  }

  /** True when everything was compared. @throws what the sink throws, and the signal's reason */
  async compare(sink: ComparisonSink): Promise<boolean> {
    await this.unlessRefused(async () => {
      const { sorter, spill, target, before } = this;
      if (sorter === null || spill === null || target === null) return;
      const { store, pacer } = this.options;
      const { accepted } = this;
      const versions = await sorter.merged();
      this.keys = await new Comparison({ versions, before, store, target, spill, pacer, sink, accepted }).run();
      this.isMade = true;
    });
    return this.isMade;
  }

  get result(): TakenInventory {
    const { keys, anew, failed } = this;
    const spent = this.isMade ? this.accepted.spent : [];
    const resumed = resumedScan(this.begun);
    return { keys, anew, failed, spent, resumed, keep: () => this.keep(), drop: () => this.drop() };
  }

  async drop(): Promise<void> {
    const isOurs = this.options.keeps && this.target !== null;
    await this.release(this.failed !== null);
    if (isOurs) await unlink(this.newPath).catch(() => {});
  }

  private async open(): Promise<void> {
    const { path, keeps, store, pacer } = this.options;
    const folder = dirname(path);
    this.file = await presentFile(path);
    const takes = keeps || this.file !== null;
    await this.openCheckpoints(takes);
    if (!takes) return;
    if (this.file !== null) {
      this.before = await readInventory(this.file, store, pacer).catch((thrown: unknown) => this.unusable(thrown));
    }
    await refusing(folder, () => makeFolder(folder));
    this.spill = this.checkpoints?.spill ?? (await namelessFile(folder));
    this.target = keeps ? await emptyFile(this.newPath) : await namelessFile(folder);
    this.sorter = new EntrySorter(this.spill, pacer, limits.inventoryArenaBytes, this.begun?.runs);
  }

  /** @param takes whether versions are taken down: a scan that did not is of no use to one that does */
  private async openCheckpoints(takes: boolean): Promise<void> {
    const { path, keeps, pacer, resumption, checkpointBytes, fromStart = false } = this.options;
    const position = this.options.position ?? (keeps ? path : undefined);
    if (resumption === undefined || position === undefined) return;
    const folder = dirname(position);
    await refusing(folder, () => makeFolder(folder));
    await removeSpills(folder);
    const judge = takes ? resumption.judge : createHash('sha256').update(`${resumption.judge} alone`).digest('hex');
    const options = { ...resumption, judge, position, fromStart };
    const every = checkpointBytes !== undefined && { everyBytes: checkpointBytes };
    const { checkpoints, resumed, refused } = await Checkpoints.begin({ ...options, ...every }, pacer);
    this.checkpoints = checkpoints;
    this.begun = resumed;
    const told = resumedScan(resumed);
    if (told !== null) this.options.onResumed?.(told);
    if (refused !== null) this.options.onRefused?.(refused);
  }

  /** Where a new one will be made, that is to be told; where none is, there is nothing to compare with. */
  private unusable(thrown: unknown): null {
    if (!isRefusal(thrown) || !this.options.keeps) throw thrown;
    this.anew = thrown;
    return null;
  }

  private get newPath(): string {
    return `${this.options.path}.new`;
  }

  private async keep(): Promise<void> {
    const { target } = this;
    if (!this.options.keeps) {
      await this.checkpoints?.forget();
      return this.release(true);
    }
    if (!this.isMade || target === null) return this.drop();
    await target.sync();
    // First: what has led to an inventory must not count for the next one.
    await this.checkpoints?.forget();
    await refusing(this.options.path, () => renameDurably(this.newPath, this.options.path));
    await this.release(true);
  }

  /** @param isDone whether nobody has to go on with it */
  private async release(isDone: boolean): Promise<void> {
    const files = [this.checkpoints === null ? this.spill : null, this.target, this.file];
    await this.checkpoints?.end(isDone);
    this.checkpoints = null;
    this.sorter = null;
    this.spill = this.target = this.file = null;
    for (const file of files) await file?.close();
  }

  private async unlessRefused(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      if (!isRefusal(thrown)) throw thrown;
      this.failed = thrown;
      this.isMade = false;
      await this.drop();
    }
  }
}

function resumedScan(begun: Resumed | null): ResumedScan | null {
  return begun && { startedAt: begun.startedAt, ...begun.counts };
}

function isRefusal(thrown: unknown): thrown is AppError {
  return thrown instanceof AppError && thrown.code === 'state.conflict';
}
