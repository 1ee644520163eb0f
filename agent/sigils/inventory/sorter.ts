import { limits } from '../../../common/limits.ts';
import type { Pacer } from '../pacer.ts';
import { EntryArena } from './arena.ts';
import type { ByteFile } from './byte-file.ts';
import { compareEntries, type EntryParts, EntryView } from './entry.ts';
import { EntryReader, EntryWriter, type Extent } from './entry-file.ts';

/** A sorted run, and how often what is in it has been merged. */
export interface Run extends Extent {
  readonly level: number;
}

const entriesPerRest = 256;

/**
 * Sorts any number of entries in bounded memory: what fills the arena is sorted and put at the end of a file, and so many runs
 * become one.
 */
export class EntrySorter {
  private readonly file: ByteFile;
  private readonly pacer: Pacer;
  private readonly arena: EntryArena;
  private readonly view = new EntryView();
  private runs: Run[];

  /** @param runs that are in the file already */
  constructor(
    file: ByteFile,
    pacer: Pacer,
    arenaBytes: number = limits.inventoryArenaBytes,
    runs: readonly Run[] = [],
  ) {
    this.file = file;
    this.runs = [...runs];
    this.pacer = pacer;
    this.arena = new EntryArena(arenaBytes);
  }

  /** To be asked at least every `entriesPerLook` entries, and {@link relieve} awaited when it is. */
  get isFull(): boolean {
    return this.arena.isFull;
  }

  add(parts: EntryParts): void {
    this.arena.add(parts);
  }

  /** Adds entries that another arena held. @throws AppError `state.conflict` */
  async addAll(bytes: Buffer): Promise<void> {
    for (let at = 0; this.view.at(bytes, at, bytes.length); at = this.view.end) {
      if (this.arena.isFull) await this.relieve();
      this.arena.addEntry(this.view);
    }
  }

  /** Empties the arena into the file. @throws AppError `state.conflict` */
  async relieve(): Promise<void> {
    if (this.arena.isEmpty) return;
    await this.writeRun(0, async (writer) => {
      for (const entry of this.arena.sorted()) {
        if (writer.isFull) await writer.flush();
        writer.put(entry);
      }
    });
    this.arena.clear();
    for (let level = 0; await this.mergeLevel(level); level++);
  }

  /** What is in the file; the arena beside it. */
  get sortedRuns(): readonly Run[] {
    return this.runs;
  }

  /** All entries in order. Nothing may be added any more. @throws AppError `state.conflict` */
  async merged(): Promise<Merge> {
    await this.relieve();
    return Merge.of(this.file, this.runs);
  }

  private async mergeLevel(level: number): Promise<boolean> {
    const runs = this.runs.filter((run) => run.level === level);
    if (runs.length < limits.inventoryFanIn) return false;
    const merge = await Merge.of(this.file, runs);
    await this.writeRun(level + 1, async (writer) => {
      for (let entries = 1; merge.entry !== null; entries++) {
        if (writer.isFull) await writer.flush();
        writer.put(merge.entry);
        const moved = merge.next();
        if (moved !== undefined) await moved;
        if (entries % entriesPerRest === 0 && this.pacer.due) await this.pacer.rest();
      }
    });
    this.runs = this.runs.filter((run) => run.level !== level);
    return true;
  }

  private async writeRun(level: number, write: (writer: EntryWriter) => Promise<void>): Promise<void> {
    const from = this.file.bytes;
    const writer = new EntryWriter(this.file, null);
    await write(writer);
    await writer.flush();
    this.runs.push({ from, to: this.file.bytes, level });
  }
}

/** Several sorted runs as one: a heap of their readers, the one with the least entry first. */
export class Merge {
  private readonly heap: EntryReader[] = [];

  static async of(file: ByteFile, runs: readonly Extent[]): Promise<Merge> {
    const merge = new Merge();
    for (const run of runs) {
      const reader = new EntryReader(file, run);
      if (await reader.next()) merge.insert(reader);
    }
    return merge;
  }

  /** The least entry that is left, until the next step; null when none is. */
  get entry(): EntryView | null {
    return this.heap[0]?.entry ?? null;
  }

  /** Goes past it; undefined when that is done already. @throws AppError `state.conflict` */
  next(): Promise<void> | undefined {
    const more = this.heap[0]?.next() ?? false;
    if (typeof more !== 'boolean') return more.then((there) => this.settle(there));
    this.settle(more);
    return undefined;
  }

  private settle(there: boolean): void {
    if (!there) {
      const last = this.heap.pop();
      if (last === undefined || this.heap.length === 0) return;
      this.heap[0] = last;
    }
    this.sink();
  }

  private insert(reader: EntryReader): void {
    let at = this.heap.length;
    this.heap.push(reader);
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!this.swapUnless(above, at)) return;
      at = above;
    }
  }

  private sink(): void {
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      const below = this.isBefore(left + 1, left) ? left + 1 : left;
      if (!this.swapUnless(at, below)) return;
      at = below;
    }
  }

  /** Puts two readers in order; false when they are, or there is no second. */
  private swapUnless(above: number, below: number): boolean {
    const [upper, lower] = [this.heap[above], this.heap[below]];
    if (upper === undefined || lower === undefined || compareEntries(upper.entry, lower.entry) <= 0) return false;
    this.heap[above] = lower;
    this.heap[below] = upper;
    return true;
  }

  private isBefore(one: number, other: number): boolean {
    const [left, right] = [this.heap[one], this.heap[other]];
    return left !== undefined && right !== undefined && compareEntries(left.entry, right.entry) < 0;
  }
}
