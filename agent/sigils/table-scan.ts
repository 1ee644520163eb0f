import type { StoredRecord } from '../../common/sigil.ts';
import type { Pacer } from './pacer.ts';
import type { StoreFile } from './store-files.ts';
import {
  BlockCursor,
  type BlockHandle,
  type Footer,
  footerBytes,
  parseHandle,
  trailerBytes,
  valueDeleted,
  valuePut,
} from './table-format.ts';
import { isProblem, type TableProblem, type TableReader } from './table-reader.ts';
import type { LiveTable } from './version-edit.ts';

/** User keys around a bad place; for a block as its index gives them: after `from`, up to and including `to`. */
export interface KeyRange {
  readonly from: Buffer;
  readonly to: Buffer;
}

/** One stored version of a record; lives only during the call. */
export interface TableRecord extends StoredRecord {
  readonly sequence: number;
  userKey(): Buffer;
  value(): Buffer;
}

/** What a table scan tells. */
export interface TableSink {
  record(record: TableRecord): void;
  /** A key of which nothing older counts; its value is empty. */
  deletion(record: TableRecord): void;
  /** Asked now and then: whether {@link relieve} is to be awaited before much more is told. */
  readonly isFull: boolean;
  relieve(): Promise<void>;
  problem(problem: TableProblem, range: KeyRange | null): void;
  /** After each data block, good or bad; the moment to do what needs waiting, if anything does. */
  blockDone(storedBytes: number): Promise<void> | undefined;
}

/** Entries checked between two looks at the clock. */
const entriesPerLook = 32;

/**
 * Checks every block of one table against its CRC-32C and hands out every record in the good ones. A bad block costs its
 * own records only. Without a readable footer or index nothing in the table can be located, so that is one problem for
 * the whole table.
 */
export class TableScan {
  private readonly reader: TableReader;
  private readonly pacer: Pacer;
  private readonly sink: TableSink;
  private readonly cursor = new BlockCursor();
  private readonly indexCursor = new BlockCursor();
  /** Bytes accounted for by blocks that the table's own structure leads to. */
  private covered = 0;
  private problems = 0;
  private table: KeyRange | null = null;

  constructor(reader: TableReader, pacer: Pacer, sink: TableSink) {
    this.reader = reader;
    this.pacer = pacer;
    this.sink = sink;
  }

  /** @throws AppError `store.unreadable` when the disk refuses; a missing file is the caller's to notice */
  async scan(file: StoreFile, live: LiveTable): Promise<void> {
    this.covered = footerBytes;
    this.problems = 0;
    this.table = live.bounds === null ? null : { from: live.bounds.smallest, to: live.bounds.largest };
    if (live.bytes !== null && live.bytes !== file.bytes) {
      this.report({
        check: 'table_format',
        offset: Math.min(live.bytes, file.bytes),
        problem: `the file has ${file.bytes} bytes, the MANIFEST says ${live.bytes}`,
      });
    }
    const footer = await this.reader.open(file);
    if (isProblem(footer)) return this.report(footer);
    await this.scanMeta(footer);
    await this.scanIndex(footer);
    if (this.problems === 0 && this.covered !== file.bytes) {
      this.report({
        check: 'table_format',
        offset: 0,
        problem: `blocks account for ${this.covered} of ${file.bytes} bytes`,
      });
    }
  }

  /** The filter decides whether a reader finds a key at all, so its bytes count as much as the data. */
  private async scanMeta(footer: Footer): Promise<void> {
    const block = await this.reader.block(footer.metaIndex);
    if (isProblem(block)) return this.report(block);
    this.cover(footer.metaIndex);
    // Copied: reading the filter replaces what the view shows.
    this.indexCursor.open(Buffer.from(block));
    while (this.indexCursor.next()) {
      const handle = parseHandle(this.indexCursor.value(), this.reader.bytes);
      if (handle === null) return this.reportAt(footer.metaIndex, 'a meta index entry points outside the file');
      const filter = await this.reader.intact(handle);
      if (isProblem(filter)) this.report(filter);
      else this.cover(handle);
    }
    if (this.indexCursor.problem !== null) this.reportAt(footer.metaIndex, this.indexCursor.problem);
  }

  private async scanIndex(footer: Footer): Promise<void> {
    const block = await this.reader.block(footer.index);
    if (isProblem(block)) return this.report(block);
    this.cover(footer.index);
    this.indexCursor.open(Buffer.from(block));
    let from = this.table?.from ?? Buffer.alloc(0);
    while (this.indexCursor.next()) {
      const to = Buffer.from(this.indexCursor.userKey());
      const handle = parseHandle(this.indexCursor.value(), this.reader.bytes);
      if (handle === null) this.reportAt(footer.index, 'an index entry points outside the file', { from, to });
      else await this.scanBlock(handle, { from, to });
      from = to;
    }
    if (this.indexCursor.problem !== null) this.reportAt(footer.index, this.indexCursor.problem);
  }

  private async scanBlock(handle: BlockHandle, range: KeyRange): Promise<void> {
    // A promise for each block costs more than its CRC.
    const block = this.reader.blockAtHand(handle) ?? (await this.reader.block(handle));
    this.cover(handle);
    if (isProblem(block)) this.report(block, range);
    else {
      this.cursor.open(block);
      while (this.scanSome(handle, range)) {
        if (this.sink.isFull) await this.sink.relieve();
        if (this.pacer.due) await this.pacer.rest();
      }
    }
    if (this.sink.isFull) await this.sink.relieve();
    const dealing = this.sink.blockDone(handle.size + trailerBytes);
    if (dealing !== undefined) await dealing;
    if (this.pacer.due) await this.pacer.rest();
  }

  /** The next entries of the open block; false after the last. */
  private scanSome(handle: BlockHandle, range: KeyRange): boolean {
    const { cursor, sink } = this;
    for (let left = entriesPerLook; left > 0; left--) {
      if (!cursor.next()) {
        if (cursor.problem !== null) this.reportAt(handle, cursor.problem, range);
        return false;
      }
      const { type } = cursor;
      if (!cursor.isInternal || (type !== valuePut && type !== valueDeleted)) {
        this.reportAt(handle, 'an entry has no internal key', range);
        return false;
      }
      if (type === valuePut) sink.record(cursor);
      else sink.deletion(cursor);
    }
    return true;
  }

  private cover(handle: BlockHandle): void {
    this.covered += handle.size + trailerBytes;
  }

  private reportAt(handle: BlockHandle, problem: string, range: KeyRange | null = this.table): void {
    this.report({ check: 'block_format', offset: handle.offset, problem }, range);
  }

  private report(problem: TableProblem, range: KeyRange | null = this.table): void {
    this.problems++;
    this.sink.problem(problem, range);
  }
}
