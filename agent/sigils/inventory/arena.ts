import { AppError } from '../../../common/errors.ts';
import { compareEntries, type EntryParts, EntryView, maxEntryBytes, writeEntry } from './entry.ts';

/** How many entries may be added between two looks at {@link EntryArena.isFull}. */
export const entriesPerLook = 32;

/** Entries in memory, up to a bound. */
export class EntryArena {
  private readonly buffer: Buffer;
  private used = 0;
  private starts: number[] = [];
  private readonly left = new EntryView();
  private readonly right = new EntryView();

  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(bytes);
  }

  get isEmpty(): boolean {
    return this.used === 0;
  }

  get isFull(): boolean {
    return this.buffer.length - this.used < entriesPerLook * maxEntryBytes;
  }

  /** @throws AppError `internal.error` for whoever did not look whether it is full */
  add(parts: EntryParts): void {
    if (this.buffer.length - this.used < maxEntryBytes) throw new AppError('internal.error', 'the arena is full');
    this.starts.push(this.used);
    this.used = writeEntry(this.buffer, this.used, parts);
  }

  /** Adds a whole one from elsewhere. */
  addEntry({ bytes, start, end }: EntryView): void {
    if (this.buffer.length - this.used < maxEntryBytes) throw new AppError('internal.error', 'the arena is full');
    this.starts.push(this.used);
    this.used += bytes.copy(this.buffer, this.used, start, end);
  }

  /** All entries in the order of their keys, as views that live until the next is asked for. */
  *sorted(): Generator<EntryView> {
    const { buffer, used, left, right } = this;
    const starts = this.starts.sort((one, other) => {
      left.at(buffer, one, used);
      right.at(buffer, other, used);
      return compareEntries(left, right);
    });
    const entry = new EntryView();
    for (const start of starts) {
      entry.at(buffer, start, used);
      yield entry;
    }
  }

  /** A copy of all that is in it, as it was added; it is empty then. */
  takeBytes(): Buffer {
    const bytes = Buffer.from(this.buffer.subarray(0, this.used));
    this.clear();
    return bytes;
  }

  clear(): void {
    this.used = 0;
    this.starts = [];
  }
}
