import { limits } from '../../../common/limits.ts';
import { FileWindow } from '../file-window.ts';
import { readLog } from '../log-scan.ts';
import type { Pacer } from '../pacer.ts';
import { type ReadingBudget, spend } from '../reading-budget.ts';
import { takeSnapshot } from '../snapshot.ts';
import type { StoreFile, StoreFiles } from '../store-files.ts';
import { BlockCursor, parseHandle, valueDeleted, valuePut } from '../table-format.ts';
import { isProblem, TableReader } from '../table-reader.ts';
import type { KeyRange } from '../table-scan.ts';
import type { LiveTable } from '../version-edit.ts';
import { BatchCursor } from '../write-batch.ts';

/** Keys that have a record in a range. */
export interface KeysFound {
  /** In their order. */
  readonly keys: readonly Buffer[];
  /** False when not all were looked at. */
  readonly isWhole: boolean;
}

interface Newest {
  readonly sequence: number;
  readonly isPresent: boolean;
}

/** A range that is being looked at. */
class Sought {
  readonly range: KeyRange;
  /** By latin1 text of the key. */
  readonly newest = new Map<string, Newest>();
  /** A damaged place may hide a key, or that it was deleted. */
  isHidden = false;
  isWhole = true;

  constructor(range: KeyRange) {
    this.range = range;
  }

  /** @param from null for the first key there is */
  meets(from: Buffer | null, to: Buffer): boolean {
    if (Buffer.compare(this.range.from, to) > 0) return false;
    return from === null || Buffer.compare(from, this.range.to) <= 0;
  }

  get found(): KeysFound {
    const present = [...this.newest].flatMap(([key, { isPresent }]) => (isPresent ? [key] : []));
    // Text of one character per byte has the order of the bytes.
    return { keys: present.sort().map((key) => Buffer.from(key, 'latin1')), isWhole: this.isWhole };
  }
}

/** Ranges in the order of where they begin: those that a key lies in are found without a look at each. */
class SoughtByKey {
  private readonly sorted: readonly Sought[];
  /** For each, the farthest that it or one before it goes. */
  private readonly reach: readonly Buffer[];

  constructor(sought: readonly Sought[]) {
    this.sorted = sought.toSorted((left, right) => Buffer.compare(left.range.from, right.range.from));
    let farthest: Buffer = Buffer.alloc(0);
    this.reach = this.sorted.map(({ range: { to } }) => {
      if (Buffer.compare(farthest, to) < 0) farthest = to;
      return farthest;
    });
  }

  at(key: Buffer): readonly Sought[] {
    const found: Sought[] = [];
    for (let at = this.begunBy(key) - 1; at >= 0; at--) {
      const [one, reach] = [this.sorted[at], this.reach[at]];
      if (one === undefined || reach === undefined || Buffer.compare(reach, key) < 0) break;
      if (Buffer.compare(key, one.range.to) <= 0) found.push(one);
    }
    return found;
  }

  /** How many begin at that key or before it. */
  private begunBy(key: Buffer): number {
    let [low, high] = [0, this.sorted.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const from = this.sorted[middle]?.range.from;
      if (from !== undefined && Buffer.compare(from, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** A batch or a block may hold a great many. */
const keysPerLook = 64;

/**
 * Lists the keys that a store, or a snapshot of one, has in some ranges, by reading nothing but what may hold them. Keys in memory and bytes
 * read are bounded; where a bound is met, the ranges are not whole.
 */
export class KeysInRanges {
  private readonly files: StoreFiles;
  private readonly pacer: Pacer;
  private readonly budget: ReadingBudget;
  private readonly window = new FileWindow();
  private readonly reader = new TableReader(this.window);
  private readonly cursor = new BlockCursor();
  private readonly indexCursor = new BlockCursor();
  private readonly batch = new BatchCursor();
  private keysLeft: number = limits.keysOfPlacesHeld;
  private keyBytesLeft: number = limits.keysOfPlacesHeldBytes;

  constructor(files: StoreFiles, pacer: Pacer, budget: ReadingBudget) {
    this.files = files;
    this.pacer = pacer;
    this.budget = budget;
  }

  /**
   * @returns for each range in turn; null where damage, or what is missing, may hide something
   * @throws AppError `store.*` as a snapshot does, and when a file cannot be read
   */
  async list(ranges: readonly KeyRange[]): Promise<readonly (KeysFound | null)[]> {
    const sought = ranges.map((range) => new Sought(range));
    const { problems, logs, tables } = await takeSnapshot(this.files, this.window, this.pacer);
    if (problems.length > 0) return ranges.map(() => null);
    for (const name of logs) await this.withFile(name, sought, (file) => this.readLog(file, sought));
    for (const [name, table] of tables) {
      const here = sought.filter((one) => !one.isHidden && isCovered(table, one));
      if (here.length > 0) await this.withFile(name, here, (file) => this.readTable(file, here));
      if (this.pacer.due) await this.pacer.rest();
    }
    return sought.map((one) => (one.isHidden ? null : one.found));
  }

  private async withFile(name: string, sought: readonly Sought[], read: (file: StoreFile) => Promise<void>) {
    const file = await this.files.open(name);
    if (file === null) return hide(sought);
    try {
      await read(file);
    } finally {
      await file.close();
    }
  }

  private async readLog(file: StoreFile, sought: readonly Sought[]): Promise<void> {
    if (!this.spend(file.bytes, sought)) return;
    const { batch } = this;
    const byKey = new SoughtByKey(sought);
    const { problems } = await readLog(this.window, file, 0, async (record) => {
      batch.open(record);
      for (let keys = 1; batch.next(); keys++) {
        this.offer(byKey, batch.key, batch.sequence, batch.type === valuePut);
        if (keys % keysPerLook === 0 && this.pacer.due) await this.pacer.rest();
      }
      if (batch.problem !== null) hide(sought);
      if (this.pacer.due) await this.pacer.rest();
    });
    if (problems.length > 0) hide(sought);
  }

  /** An index has an upper bound of the keys of each block, in their order. */
  private async readTable(file: StoreFile, sought: readonly Sought[]): Promise<void> {
    const footer = await this.reader.open(file);
    if (isProblem(footer)) return hide(sought);
    if (!this.spend(footer.index.size, sought)) return;
    const index = await this.reader.block(footer.index);
    if (isProblem(index)) return hide(sought);
    const bounds = this.indexCursor;
    bounds.open(Buffer.from(index));
    for (let from: Buffer | null = null; bounds.next(); ) {
      const to = Buffer.from(bounds.userKey());
      const here = sought.filter((one) => !one.isHidden && one.meets(from, to));
      if (here.length > 0) await this.readBlock(bounds.value(), here);
      from = to;
      if (this.pacer.due) await this.pacer.rest();
    }
    if (bounds.problem !== null) hide(sought);
  }

  private async readBlock(handleBytes: Buffer, sought: readonly Sought[]): Promise<void> {
    const handle = parseHandle(handleBytes, this.reader.bytes);
    if (handle === null) return hide(sought);
    if (!this.spend(handle.size, sought)) return;
    const block = await this.reader.block(handle);
    if (isProblem(block)) return hide(sought);
    const { cursor } = this;
    cursor.open(block);
    const byKey = new SoughtByKey(sought);
    for (let keys = 1; cursor.next(); keys++) {
      const { type, isInternal, sequence } = cursor;
      if (!isInternal || (type !== valuePut && type !== valueDeleted)) return hide(sought);
      this.offer(byKey, cursor.userKey(), sequence, type === valuePut);
      if (keys % keysPerLook === 0 && this.pacer.due) await this.pacer.rest();
    }
    if (cursor.problem !== null) hide(sought);
  }

  private offer(byKey: SoughtByKey, key: Buffer, sequence: number, isPresent: boolean): void {
    const there = byKey.at(key);
    if (there.length === 0) return;
    const name = key.toString('latin1');
    for (const one of there) {
      const known = one.newest.get(name);
      if (known === undefined && !this.hold(key)) one.isWhole = false;
      else if (known === undefined || known.sequence < sequence) one.newest.set(name, { sequence, isPresent });
    }
  }

  /** False when there is no room for one more. */
  private hold(key: Buffer): boolean {
    if (this.keysLeft === 0 || key.length > this.keyBytesLeft) return false;
    this.keysLeft--;
    this.keyBytesLeft -= key.length;
    return true;
  }

  /** False when that is more than is left. */
  private spend(bytes: number, sought: readonly Sought[]): boolean {
    if (spend(this.budget, bytes)) return true;
    for (const one of sought) one.isWhole = false;
    return false;
  }
}

function hide(sought: readonly Sought[]): void {
  for (const one of sought) one.isHidden = true;
}

function isCovered({ bounds }: LiveTable, one: Sought): boolean {
  return bounds === null || one.meets(bounds.smallest, bounds.largest);
}
