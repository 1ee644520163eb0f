import { limits } from '../../common/limits.ts';
import { ByteReader } from './bytes.ts';
import { internalKeyBytes } from './table-format.ts';

/** A table the store's newest version refers to, with the key bounds the MANIFEST gives it. */
export interface LiveTable {
  readonly number: number;
  readonly level: number;
  /** Size of its file; null for a table that was found on disk because the MANIFEST is damaged. */
  readonly bytes: number | null;
  /** User keys, both inclusive; null as above. */
  readonly bounds: { readonly smallest: Buffer; readonly largest: Buffer } | null;
}

/** What a store consists of at one moment: the sum of all edits in its MANIFEST. */
export interface StoreVersion {
  readonly comparator: string | null;
  /** Logs from this number on hold records that no table has yet. */
  readonly logNumber: number;
  /** One older log still needed, or 0. */
  readonly prevLogNumber: number;
  readonly tables: ReadonlyMap<number, LiveTable>;
}

/** Tags of a VersionEdit (LevelDB `db/version_edit`); they are part of the file format. */
const tag = {
  comparator: 1,
  logNumber: 2,
  nextFileNumber: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  prevLogNumber: 9,
} as const;

/** Adds up VersionEdits in the order they stand in the MANIFEST. */
export class VersionBuilder implements StoreVersion {
  comparator: string | null = null;
  logNumber = 0;
  prevLogNumber = 0;
  readonly tables = new Map<number, LiveTable>();

  /**
   * Applies one edit. False when it is malformed, or names a table more than `limits.sigilMaxTables`; what it says before
   * the bad place has been applied then.
   */
  apply(edit: Buffer): boolean {
    const reader = new ByteReader(edit);
    while (!reader.done) {
      if (!this.applyField(reader.varint(), reader)) return false;
    }
    return !reader.failed;
  }

  private applyField(which: number, reader: ByteReader): boolean {
    switch (which) {
      case tag.comparator:
        this.comparator = reader.prefixed().toString('latin1');
        return !reader.failed;
      case tag.logNumber:
        this.logNumber = reader.varint();
        return !reader.failed;
      case tag.prevLogNumber:
        this.prevLogNumber = reader.varint();
        return !reader.failed;
      case tag.nextFileNumber:
      case tag.lastSequence:
        reader.varint();
        return !reader.failed;
      case tag.compactPointer:
        reader.varint();
        reader.prefixed();
        return !reader.failed;
      case tag.deletedFile:
        return this.deleteTable(reader);
      case tag.newFile:
        return this.addTable(reader);
      default:
        return false;
    }
  }

  /** One edit deletes a file from its old level and adds it on the new one, in that order. */
  private deleteTable(reader: ByteReader): boolean {
    const level = reader.varint();
    const number = reader.varint();
    if (reader.failed) return false;
    if (this.tables.get(number)?.level === level) this.tables.delete(number);
    return true;
  }

  private addTable(reader: ByteReader): boolean {
    const level = reader.varint();
    const number = reader.varint();
    const bytes = reader.varint();
    const smallest = userKeyOf(reader.prefixed());
    const largest = userKeyOf(reader.prefixed());
    if (reader.failed || smallest === null || largest === null) return false;
    if (this.tables.size >= limits.sigilMaxTables) return false;
    this.tables.set(number, { number, level, bytes, bounds: { smallest, largest } });
    return true;
  }
}

/** A copy, so that a few key bytes do not keep the read buffer alive. */
function userKeyOf(internalKey: Buffer): Buffer | null {
  if (internalKey.length < internalKeyBytes) return null;
  return Buffer.from(internalKey.subarray(0, -internalKeyBytes));
}
