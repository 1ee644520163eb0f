import { limits } from '../../common/limits.ts';
import type { StoreFile } from './store-files.ts';

/** A moving view of one open file through one reused buffer, so that reading a store costs the same memory at any size. */
export class FileWindow {
  private readonly base = Buffer.allocUnsafe(limits.sigilWindowBytes);
  private current = this.base;
  private file: StoreFile | null = null;
  private start = 0;
  private filled = 0;

  /** Switches to another file and forgets what was read. */
  use(file: StoreFile): void {
    this.file = file;
    this.forget();
  }

  /** Makes the next reads go to the file again, for a second look at bytes that seemed wrong. */
  forget(): void {
    this.filled = 0;
    this.current = this.base;
  }

  /**
   * `length` bytes from `offset`, fewer at the end of the file, as a view that lives until the next call.
   * @throws AppError `store.unreadable`
   */
  async bytes(offset: number, length: number): Promise<Buffer> {
    if (offset < this.start || offset + length > this.start + this.filled) await this.load(offset, length);
    const from = offset - this.start;
    return this.current.subarray(from, Math.min(from + length, this.filled));
  }

  private async load(offset: number, length: number): Promise<void> {
    this.filled = 0;
    // Only a block larger than the window gets memory of its own, and only while it is looked at.
    this.current = length > this.base.length ? Buffer.allocUnsafe(length) : this.base;
    this.start = offset;
    this.filled = (await this.file?.read(this.current, offset)) ?? 0;
  }
}
