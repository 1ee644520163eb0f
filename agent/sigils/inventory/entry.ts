import { limits } from '../../../common/limits.ts';

/** The version is a record, not a deletion; in an inventory, the key had one at the last full scan. */
export const isPresent = 1;
/** The record passes all checks, so its fields mean something. */
export const isSound = 2;
/** The key has one of the older forms. */
export const isOldForm = 4;

const headBytes = 14;
export const maxEntryBytes = headBytes + 2 * limits.maxInventoryKeyBytes + limits.maxInventoryTimeBytes;

/**
 * What an entry is made of: a key, and in `from` two texts to go with it. Of a stored version, and in an inventory, they are the
 * record's id and `updatedAt`.
 */
export interface EntryParts {
  readonly key: Uint8Array;
  readonly keyLength: number;
  readonly sequence: number;
  readonly flags: number;
  readonly from: Uint8Array;
  readonly idStart: number;
  readonly idEnd: number;
  readonly timeStart: number;
  readonly timeEnd: number;
}

/**
 * Puts an entry behind `at`, where there must be {@link maxEntryBytes}: 16 bits of key length and 16 of id length, 8 of time
 * length, 8 of flags, the sequence number as a double; then the three texts.
 * @returns where it ends
 */
export function writeEntry(target: Buffer, at: number, parts: EntryParts): number {
  const { key, keyLength, from, idStart, idEnd, timeStart, timeEnd } = parts;
  target.writeUInt16LE(keyLength, at);
  target.writeUInt16LE(idEnd - idStart, at + 2);
  target.writeUInt8(timeEnd - timeStart, at + 4);
  target.writeUInt8(parts.flags, at + 5);
  target.writeDoubleLE(parts.sequence, at + 6);
  let to = copyBytes(key, 0, keyLength, target, at + headBytes);
  to = copyBytes(from, idStart, idEnd, target, to);
  return copyBytes(from, timeStart, timeEnd, target, to);
}

/** Gives the entry that begins there other flags, and no sequence number. */
export function restamp(target: Buffer, at: number, flags: number): void {
  target.writeUInt8(flags, at + 5);
  target.writeDoubleLE(0, at + 6);
}

/** Texts this short are copied faster here than by a call. */
function copyBytes(source: Uint8Array, from: number, end: number, target: Buffer, to: number): number {
  let at = to;
  for (let index = from; index < end; index++) target[at++] = source[index] ?? 0;
  return at;
}

/** An entry where it lies; moved from one to the next. */
export class EntryView {
  bytes: Buffer = Buffer.alloc(0);
  /** Where it begins. */
  start = 0;
  keyStart = 0;
  keyEnd = 0;
  idEnd = 0;
  /** Where it ends. */
  end = 0;

  /** Moves to the entry that begins at `start`; false when not all of it stands before `limit`. */
  at(bytes: Buffer, start: number, limit: number): boolean {
    if (start + headBytes > limit) return false;
    this.bytes = bytes;
    this.start = start;
    this.keyStart = start + headBytes;
    this.keyEnd = this.keyStart + bytes.readUInt16LE(start);
    this.idEnd = this.keyEnd + bytes.readUInt16LE(start + 2);
    this.end = this.idEnd + bytes.readUInt8(start + 4);
    return this.end <= limit;
  }

  get flags(): number {
    return this.bytes.readUInt8(this.start + 5);
  }

  get sequence(): number {
    return this.bytes.readDoubleLE(this.start + 6);
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** A view. */
  get key(): Buffer {
    return this.bytes.subarray(this.keyStart, this.keyEnd);
  }

  /** A view. */
  get id(): Buffer {
    return this.bytes.subarray(this.keyEnd, this.idEnd);
  }

  get time(): string {
    return this.bytes.toString('latin1', this.idEnd, this.end);
  }

  get hasId(): boolean {
    return this.idEnd > this.keyEnd;
  }

  compareKey(other: EntryView): number {
    return this.bytes.compare(other.bytes, other.keyStart, other.keyEnd, this.keyStart, this.keyEnd);
  }

  hasSameTime(other: EntryView): boolean {
    return this.bytes.compare(other.bytes, other.idEnd, other.end, this.idEnd, this.end) === 0;
  }
}

/** An entry of its own, which outlives what it was taken from. */
export class HeldEntry extends EntryView {
  private readonly own = Buffer.alloc(maxEntryBytes);

  take(entry: EntryView): void {
    const length = entry.bytes.copy(this.own, 0, entry.start, entry.end);
    this.at(this.own, 0, length);
  }
}

/** By key, and of one key the highest sequence number first. */
export function compareEntries(left: EntryView, right: EntryView): number {
  return left.compareKey(right) || right.sequence - left.sequence;
}
