import { ByteReader } from './bytes.ts';
import { valueDeleted, valuePut } from './table-format.ts';
import type { TableRecord } from './table-scan.ts';

const nothing = Buffer.alloc(0);

/**
 * Walks the operations of one WriteBatch as it stands in the log (LevelDB `db/write_batch`): a base sequence, a count,
 * then puts and deletions, each with the next sequence number.
 */
export class BatchCursor implements TableRecord {
  key: Buffer = nothing;
  /** The value alone; empty for a deletion. */
  bytes: Buffer = nothing;
  readonly valueStart = 0;
  type = valueDeleted;
  sequence = 0;
  /** Why the walk ended early, or null. */
  problem: string | null = null;
  private reader = new ByteReader(Buffer.alloc(0));
  private nextSequence = 0;
  private left = 0;
  private chars: string | null = null;

  get keyLength(): number {
    return this.key.length;
  }

  get valueEnd(): number {
    return this.bytes.length;
  }

  get text(): string {
    this.chars ??= this.bytes.toString('latin1');
    return this.chars;
  }

  userKey(): Buffer {
    return this.key;
  }

  value(): Buffer {
    return this.bytes;
  }

  open(batch: Buffer): void {
    this.reader = new ByteReader(batch);
    this.nextSequence = this.reader.fixed64();
    this.left = this.reader.fixed32();
    this.problem = this.reader.failed ? 'a batch is too short' : null;
  }

  /** Moves to the next operation; false at the end and at the first malformed one. */
  next(): boolean {
    if (this.problem !== null) return false;
    if (this.reader.done) {
      if (this.left !== 0) this.problem = 'a batch holds fewer operations than it counts';
      return false;
    }
    this.type = this.reader.byte();
    this.key = this.reader.prefixed();
    this.bytes = this.type === valuePut ? this.reader.prefixed() : nothing;
    this.chars = null;
    if (this.reader.failed || (this.type !== valuePut && this.type !== valueDeleted) || this.left === 0) {
      this.problem = 'a batch operation is malformed';
      return false;
    }
    this.left--;
    this.sequence = this.nextSequence++;
    return true;
  }
}
