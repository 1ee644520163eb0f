import { ByteReader } from './bytes.ts';
import { valueDeleted, valuePut } from './table-format.ts';

/**
 * Walks the operations of one WriteBatch as it stands in the log (LevelDB `db/write_batch`): a base sequence, a count,
 * then puts and deletions, each with the next sequence number.
 */
export class BatchCursor {
  key: Buffer = Buffer.alloc(0);
  /** Empty for a deletion. */
  value: Buffer = Buffer.alloc(0);
  type = valueDeleted;
  sequence = 0;
  /** Why the walk ended early, or null. */
  problem: string | null = null;
  private reader = new ByteReader(Buffer.alloc(0));
  private nextSequence = 0;
  private left = 0;

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
    if (this.type === valuePut) this.value = this.reader.prefixed();
    if (this.reader.failed || (this.type !== valuePut && this.type !== valueDeleted) || this.left === 0) {
      this.problem = 'a batch operation is malformed';
      return false;
    }
    this.left--;
    this.sequence = this.nextSequence++;
    return true;
  }
}
