import type { Hash } from 'node:crypto';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import type { ByteFile } from './byte-file.ts';
import { EntryView, maxEntryBytes, restamp } from './entry.ts';

const writeBytes = 256 * 1024;

/** Part of a file, in bytes. */
export interface Extent {
  readonly from: number;
  readonly to: number;
}

/** Appends entries to a file. */
export class EntryWriter {
  /** How many were put. */
  entries = 0;
  private readonly file: ByteFile;
  private readonly hash: Hash | null;
  private readonly buffer = Buffer.allocUnsafeSlow(writeBytes);
  private used = 0;

  /** @param hash takes in what is written */
  constructor(file: ByteFile, hash: Hash | null) {
    this.file = file;
    this.hash = hash;
  }

  /** Room for one entry: `buffer` from `at` on; {@link wrote} says where it ends. Await {@link flush} when {@link isFull}. */
  get room(): { readonly buffer: Buffer; readonly at: number } {
    return { buffer: this.buffer, at: this.used };
  }

  wrote(end: number): void {
    this.used = end;
    this.entries++;
  }

  put({ bytes, start, end }: EntryView): void {
    this.wrote(this.used + bytes.copy(this.buffer, this.used, start, end));
  }

  /** With other flags, and no sequence number. */
  putAs(entry: EntryView, flags: number): void {
    const at = this.used;
    this.put(entry);
    restamp(this.buffer, at, flags);
  }

  get isFull(): boolean {
    return this.buffer.length - this.used < maxEntryBytes;
  }

  /** @throws AppError `state.conflict` */
  async flush(): Promise<void> {
    const written = this.buffer.subarray(0, this.used);
    this.hash?.update(written);
    await this.file.append(written);
    this.used = 0;
  }
}

/** Entries one after the other; a step that needs the disk is a promise, the others are not. */
export class EntryReader {
  readonly entry = new EntryView();
  private readonly file: ByteFile;
  private readonly buffer: Buffer;
  private readonly to: number;
  private position: number;
  private at = 0;
  private filled = 0;

  constructor(file: ByteFile, { from, to }: Extent, bufferBytes: number = limits.inventoryReadBytes) {
    this.file = file;
    this.position = from;
    this.to = to;
    this.buffer = Buffer.allocUnsafeSlow(Math.max(Math.min(bufferBytes, to - from), 1));
  }

  /**
   * Moves on; false at the end. The entry before lives no longer.
   * @throws AppError `state.conflict`, also for what cannot be an entry
   */
  next(): boolean | Promise<boolean> {
    if (!this.entry.at(this.buffer, this.at, this.filled)) return this.nextAfterReading();
    this.at = this.entry.end;
    return true;
  }

  private async nextAfterReading(): Promise<boolean> {
    this.buffer.copy(this.buffer, 0, this.at, this.filled);
    this.filled -= this.at;
    this.at = 0;
    const wanted = Math.min(this.buffer.length - this.filled, this.to - this.position);
    const read = await this.file.read(this.buffer.subarray(this.filled, this.filled + wanted), this.position);
    this.position += read;
    this.filled += read;
    if (this.filled === 0 && this.position >= this.to) return false;
    if (!this.entry.at(this.buffer, 0, this.filled) || this.entry.end > maxEntryBytes) {
      throw new AppError('state.conflict', 'a file of the inventory is damaged');
    }
    this.at = this.entry.end;
    return true;
  }
}
