import { limits } from '../../../common/limits.ts';
import type { KeyRange } from '../table-scan.ts';

/** Where a scan could not see: what it did not find there may be there all the same. */
export class Doubts {
  private everywhere = false;
  private readonly ranges: KeyRange[] = [];

  /** @param range null when it may be any key */
  add(range: KeyRange | null): void {
    if (range === null || this.ranges.length >= limits.maxInventoryDoubts) this.everywhere = true;
    else this.ranges.push(range);
  }

  covers(key: Buffer): boolean {
    if (this.everywhere) return true;
    return this.ranges.some(({ from, to }) => Buffer.compare(from, key) <= 0 && Buffer.compare(key, to) <= 0);
  }
}
