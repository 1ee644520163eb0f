import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { SigilChecker } from '../../common/sigil.ts';
import { sigilFacts } from '../../common/sigil-inventory.ts';
import { FileWindow } from './file-window.ts';
import { readLog } from './log-scan.ts';
import type { FoundRecord, RecordLookUp } from './look-up.ts';
import type { Pacer } from './pacer.ts';
import { type ReadingBudget, spend } from './reading-budget.ts';
import { Snapshots } from './snapshot.ts';
import type { StoreFile, StoreFiles } from './store-files.ts';
import { BlockCursor, type BlockHandle, parseHandle, valuePut } from './table-format.ts';
import { isProblem, TableReader } from './table-reader.ts';
import type { LiveTable } from './version-edit.ts';
import { BatchCursor } from './write-batch.ts';

/** The version of a key that a reader of the store would see now. */
export interface CurrentRecord extends FoundRecord {
  /** Sequence number of that version; -1 when the store has none. */
  readonly sequence: number;
}

/** Told of every version that is the newest so far: views that live only during the call; null for a deletion. */
export type VersionSeen = (key: Buffer, value: Buffer | null) => void;

const absent: CurrentRecord = { sequence: -1, isPresent: false, updatedAt: '', failures: [], uncertain: false };

/** One batch may hold a great many. */
const operationsPerLook = 64;

/** Looks up the current versions of a few keys across log and tables; the highest sequence number wins. */
export class CurrentRecords implements RecordLookUp {
  private readonly files: StoreFiles;
  private readonly checker: SigilChecker;
  private readonly pacer: Pacer;
  private readonly seen: VersionSeen | undefined;
  private readonly window = new FileWindow();
  private readonly snapshots: Snapshots;
  private readonly reader = new TableReader(this.window);
  private readonly cursor = new BlockCursor();
  private readonly indexCursor = new BlockCursor();
  private readonly batch = new BatchCursor();
  private found = new Map<string, CurrentRecord>();
  private budget: ReadingBudget = { left: Number.POSITIVE_INFINITY };
  private readonly unreadKeys = new Set<string>();

  constructor(files: StoreFiles, checker: SigilChecker, pacer: Pacer, seen?: VersionSeen) {
    this.files = files;
    this.checker = checker;
    this.pacer = pacer;
    this.snapshots = new Snapshots(files, this.window, pacer);
    this.seen = seen;
  }

  /** Keys of the last look-up, as latin1 text, that could not be looked for everywhere because its budget was spent; they are uncertain. */
  get unread(): ReadonlySet<string> {
    return this.unreadKeys;
  }

  /**
   * @param budget what may be read for it; without, all that has to be
   * @returns by latin1 text of the key, an answer for each of `keys`
   * @throws AppError `store.*` as a snapshot does
   */
  async lookUp(
    keys: readonly Buffer[],
    budget: ReadingBudget = { left: Number.POSITIVE_INFINITY },
  ): Promise<ReadonlyMap<string, CurrentRecord>> {
    this.budget = budget;
    for (let round = 0; round < limits.sigilLookUpAttempts; round++) {
      this.unreadKeys.clear();
      this.found = new Map(keys.map((key) => [key.toString('latin1'), absent]));
      const lastRound = round === limits.sigilLookUpAttempts - 1;
      if ((await this.tryLookUp(keys)) || lastRound) break;
      await this.pacer.rest();
    }
    return this.found;
  }

  /** False when a file was compacted away on the way. */
  private async tryLookUp(keys: readonly Buffer[]): Promise<boolean> {
    const snapshot = await this.snapshots.take();
    let whole = true;
    for (const name of snapshot.logs)
      whole = (await this.withFile(name, keys, (file) => this.searchLog(file, keys))) && whole;
    for (const [name, table] of snapshot.tables) {
      const covered = keys.filter((key) => covers(table, key));
      if (covered.length === 0) continue;
      whole = (await this.withFile(name, covered, (file) => this.searchTable(file, covered))) && whole;
      if (this.pacer.due) await this.pacer.rest();
    }
    return whole;
  }

  private async withFile(
    name: string,
    keys: readonly Buffer[],
    search: (file: StoreFile) => Promise<void>,
  ): Promise<boolean> {
    let file: StoreFile | null = null;
    try {
      file = await this.files.open(name);
      if (file !== null) await search(file);
    } catch (thrown) {
      if (toAppError(thrown).code !== 'store.unreadable') throw thrown;
      this.doubt(keys);
    } finally {
      await file?.close();
    }
    if (file === null) this.doubt(keys);
    return file !== null;
  }

  private async searchLog(file: StoreFile, keys: readonly Buffer[]): Promise<void> {
    const { batch } = this;
    if (!this.spend(file.bytes, keys)) return;
    const reading = await readLog(this.window, file, 0, async (record) => {
      batch.open(record);
      for (let operations = 1; batch.next(); operations++) {
        this.offer(batch.key, batch.type === valuePut ? batch.value() : null, batch.sequence);
        if (operations % operationsPerLook === 0 && this.pacer.due) await this.pacer.rest();
      }
      if (this.pacer.due) await this.pacer.rest();
    });
    if (reading.problems.length > 0) this.doubtAll();
  }

  private async searchTable(file: StoreFile, keys: readonly Buffer[]): Promise<void> {
    const footer = await this.reader.open(file);
    if (isProblem(footer)) return this.doubt(keys);
    if (!this.spend(footer.index.size, keys)) return;
    const index = await this.reader.block(footer.index);
    if (isProblem(index)) return this.doubt(keys);
    const kept = Buffer.from(index);
    for (const key of keys) {
      await this.searchKey(kept, key);
      if (this.pacer.due) await this.pacer.rest();
    }
  }

  /**
   * Index keys are upper bounds: the key is in the first block whose bound is not smaller, or, when that bound equals
   * the key, possibly in the one after it.
   */
  private async searchKey(index: Buffer, key: Buffer): Promise<void> {
    const bounds = this.indexCursor;
    bounds.open(index);
    while (bounds.next()) {
      const order = Buffer.compare(bounds.userKey(), key);
      if (order < 0) continue;
      const handle = parseHandle(bounds.value(), this.reader.bytes);
      if (handle === null) return this.doubt([key]);
      if ((await this.searchBlock(handle, key)) || order > 0) return;
    }
    if (bounds.problem !== null) this.doubt([key]);
  }

  private async searchBlock(handle: BlockHandle, key: Buffer): Promise<boolean> {
    if (!this.spend(handle.size, [key])) return false;
    const block = await this.reader.block(handle);
    if (isProblem(block)) {
      this.doubt([key]);
      return false;
    }
    const { cursor } = this;
    cursor.open(block);
    while (cursor.next()) {
      if (!cursor.isInternal || !cursor.userKey().equals(key)) continue;
      // Versions of one key stand newest first.
      this.offer(key, cursor.type === valuePut ? cursor.value() : null, cursor.sequence);
      return true;
    }
    if (cursor.problem !== null) this.doubt([key]);
    return false;
  }

  private offer(key: Buffer, value: Buffer | null, sequence: number): void {
    const name = key.toString('latin1');
    const known = this.found.get(name);
    if (known === undefined || known.sequence >= sequence) return;
    this.seen?.(key, value);
    const failures = value === null ? [] : this.checker.check(key, value);
    const updatedAt = value === null || failures.length > 0 ? '' : sigilFacts(value).updatedAt;
    const isPresent = value !== null;
    this.found.set(name, { sequence, isPresent, updatedAt, failures, uncertain: known.uncertain });
  }

  /** False when that is more than is left. */
  private spend(bytes: number, keys: readonly Buffer[]): boolean {
    if (spend(this.budget, bytes)) return true;
    for (const key of keys) this.unreadKeys.add(key.toString('latin1'));
    this.doubt(keys);
    return false;
  }

  private doubt(keys: readonly Buffer[]): void {
    for (const key of keys) {
      const name = key.toString('latin1');
      this.found.set(name, { ...(this.found.get(name) ?? absent), uncertain: true });
    }
  }

  private doubtAll(): void {
    for (const [name, record] of this.found) this.found.set(name, { ...record, uncertain: true });
  }
}

function covers(table: LiveTable, key: Buffer): boolean {
  if (table.bounds === null) return true;
  return Buffer.compare(table.bounds.smallest, key) <= 0 && Buffer.compare(key, table.bounds.largest) <= 0;
}
