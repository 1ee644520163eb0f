import { limits } from '../../common/limits.ts';
import type { StoreFile } from './store-files.ts';

/** Room before what was read ahead, for the end of what was read before it. */
const headBytes = 64 * 1024;

/** Part of a file in memory. */
interface Pane {
  /** What was read stands behind {@link headBytes}, or begins before them. */
  readonly buffer: Buffer;
  /** Where in the buffer what is there begins. */
  from: number;
  /** Where in the file. */
  start: number;
  filled: number;
}

/**
 * A moving view of one open file through two reused buffers, so that reading a store costs the same memory at any size. Whoever reads
 * on from one to the next finds it there already: the disk works while the processor does.
 */
export class FileWindow {
  private current = emptyPane();
  private next = emptyPane();
  private file: StoreFile | null = null;
  /** A read into {@link next} that is under way, or done; resolves to what it read, and to nothing where the disk refused. */
  private ahead: Promise<number> | null = null;
  /** Only a block larger than the window gets memory of its own, and only while it is looked at. */
  private large: Buffer | null = null;

  /** Switches to another file and forgets what was read. */
  use(file: StoreFile): void {
    this.file = file;
    this.forget();
  }

  /** Makes the next reads go to the file again, for a second look at bytes that seemed wrong. */
  forget(): void {
    this.current.filled = 0;
    this.large = null;
    this.next.start = -1;
  }

  /**
   * `length` bytes from `offset`, fewer at the end of the file, as a view that lives until the next call.
   * @throws AppError `store.unreadable`
   */
  async bytes(offset: number, length: number): Promise<Buffer> {
    if (length > limits.sigilWindowBytes) return this.largeBytes(offset, length);
    if (!this.holds(offset, length)) await this.load(offset, length);
    return this.view(offset, length);
  }

  /** The same at once when all of it is in memory; null when the file has to be read. */
  held(offset: number, length: number): Buffer | null {
    return this.holds(offset, length) ? this.view(offset, length) : null;
  }

  private view(offset: number, length: number): Buffer {
    const { buffer, from, start, filled } = this.current;
    return buffer.subarray(from + offset - start, from + Math.min(offset - start + length, filled));
  }

  private holds(offset: number, length: number): boolean {
    const { start, filled } = this.current;
    return offset >= start && offset + length <= start + filled;
  }

  private async largeBytes(offset: number, length: number): Promise<Buffer> {
    this.large = Buffer.allocUnsafe(length);
    const read = (await this.file?.read(this.large, offset)) ?? 0;
    return this.large.subarray(0, read);
  }

  private async load(offset: number, length: number): Promise<void> {
    const end = this.current.start + this.current.filled;
    const goesOn = offset === 0 || (this.current.filled > 0 && offset <= end && end - offset <= headBytes);
    if (!(goesOn && this.next.start === end && (await this.turn(offset)) && this.holds(offset, length))) {
      const pane = this.current;
      pane.filled = 0;
      const filled = (await this.file?.read(pane.buffer.subarray(headBytes), offset)) ?? 0;
      Object.assign(pane, { from: headBytes, start: offset, filled });
    }
    if (goesOn) await this.readAhead();
  }

  /** What was read ahead becomes current, with the end of what was current before it. False when nothing was read. */
  private async turn(offset: number): Promise<boolean> {
    const [before, pane] = [this.current, this.next];
    const read = (await this.ahead) ?? 0;
    if (read === 0) return false;
    const tail = before.start + before.filled - offset;
    before.buffer.copy(pane.buffer, headBytes - tail, before.from + before.filled - tail, before.from + before.filled);
    Object.assign(pane, { from: headBytes - tail, start: offset, filled: tail + read });
    [this.current, this.next] = [pane, before];
    this.next.start = -1;
    return true;
  }

  private async readAhead(): Promise<void> {
    // The buffer may be in the hands of a read that nobody waits for any more.
    await this.ahead;
    const start = this.current.start + this.current.filled;
    if (this.file === null || start >= this.file.bytes) return;
    this.next.start = start;
    this.ahead = this.file.read(this.next.buffer.subarray(headBytes), start).catch(() => 0);
  }
}

function emptyPane(): Pane {
  const buffer = Buffer.allocUnsafe(headBytes + limits.sigilWindowBytes);
  return { buffer, from: headBytes, start: -1, filled: 0 };
}
