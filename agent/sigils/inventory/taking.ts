import { mkdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError } from '../../../common/errors.ts';
import { renameDurably, syncFolder } from '../../durable-file.ts';
import type { Pacer } from '../pacer.ts';
import { type AcceptedChange, AcceptedChanges } from './accepted.ts';
import { type ByteFile, emptyFile, namelessFile, presentFile, refusing } from './byte-file.ts';
import { Comparison, type ComparisonSink } from './comparison.ts';
import type { EntryParts } from './entry.ts';
import type { EntryReader } from './entry-file.ts';
import { readInventory } from './inventory-file.ts';
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
  /**
   * Puts the new one in the place of the one before; resolved means that a power cut cannot undo it.
   * @throws AppError `state.conflict`
   */
  keep(): Promise<void>;
  drop(): Promise<void>;
}

export interface TakingOptions extends InventoryRequest {
  readonly store: string;
  readonly pacer: Pacer;
}

/**
 * Takes the inventory of a store while everything in it is read: each stored version goes into a sorter, and at the end they are
 * compared with the inventory before. A disk that refuses ends the taking, and not the scan.
 *
 * Crash points: everything but the new inventory is in files without names. That one stands beside the old, `PATH.new`, until its
 * findings have been told; a crash before that repeats them, and the next scan overwrites it.
 */
export class InventoryTaking implements VersionSink {
  private readonly options: TakingOptions;
  private spill: ByteFile | null = null;
  private target: ByteFile | null = null;
  private file: ByteFile | null = null;
  private before: EntryReader | null = null;
  private sorter: EntrySorter | null = null;
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
    return { keys, anew, failed, spent, keep: () => this.keep(), drop: () => this.drop() };
  }

  async drop(): Promise<void> {
    const isOurs = this.options.keeps && this.target !== null;
    await this.release();
    if (isOurs) await unlink(this.newPath).catch(() => {});
  }

  private async open(): Promise<void> {
    const { path, keeps, store, pacer } = this.options;
    const folder = dirname(path);
    this.file = await presentFile(path);
    if (this.file === null && !keeps) return;
    if (this.file !== null) {
      this.before = await readInventory(this.file, store, pacer).catch((thrown: unknown) => this.unusable(thrown));
    }
    await refusing(folder, async () => {
      const made = await mkdir(folder, { recursive: true, mode: 0o700 });
      if (made !== undefined) await syncFolder(dirname(made));
    });
    this.spill = await namelessFile(folder);
    this.target = keeps ? await emptyFile(this.newPath) : await namelessFile(folder);
    this.sorter = new EntrySorter(this.spill, pacer);
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
    if (!this.isMade || !this.options.keeps || target === null) return this.drop();
    await target.sync();
    await refusing(this.options.path, () => renameDurably(this.newPath, this.options.path));
    await this.release();
  }

  private async release(): Promise<void> {
    const files = [this.spill, this.target, this.file];
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

function isRefusal(thrown: unknown): thrown is AppError {
  return thrown instanceof AppError && thrown.code === 'state.conflict';
}
