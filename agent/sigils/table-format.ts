import { ByteReader, maskedCrc } from './bytes.ts';

/** LevelDB `doc/table_format`: a fixed-size footer at the very end of the file. */
export const footerBytes = 48;
/** After each block: one byte for its compression, four for the masked CRC-32C of block and compression byte. */
export const trailerBytes = 5;
/** After each user key: `sequence << 8 | type`, little-endian. */
export const internalKeyBytes = 8;
const magic = Buffer.from('57fb808b247547db', 'hex');

export const valueDeleted = 0;
export const valuePut = 1;

/** Where a block lies in its table; `size` excludes the trailer. */
export interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

export interface Footer {
  readonly metaIndex: BlockHandle;
  readonly index: BlockHandle;
}

/** A statement about bytes that are not what the format says. Values, not exceptions: bad bytes are expected here. */
export interface Malformed {
  readonly problem: string;
}

export function isMalformed(value: object): value is Malformed {
  return 'problem' in value;
}

/** Parses the last {@link footerBytes} of a table of `fileSize` bytes. */
export function parseFooter(bytes: Buffer, fileSize: number): Footer | Malformed {
  if (bytes.length !== footerBytes) return { problem: 'the file is too short for a table' };
  if (!bytes.subarray(footerBytes - magic.length).equals(magic)) return { problem: 'the table has no magic number' };
  const reader = new ByteReader(bytes, 0, footerBytes - magic.length);
  const metaIndex = readHandle(reader);
  const index = readHandle(reader);
  const padding = bytes.subarray(reader.position, footerBytes - magic.length);
  if (reader.failed || padding.some((byte) => byte !== 0)) return { problem: 'the footer is malformed' };
  if (!fits(metaIndex, fileSize) || !fits(index, fileSize)) return { problem: 'the footer points outside the file' };
  return { metaIndex, index };
}

/** A handle stored as the value of an index entry, bounded by the size of its file. */
export function parseHandle(bytes: Buffer, fileSize: number): BlockHandle | null {
  const reader = new ByteReader(bytes);
  const handle = readHandle(reader);
  return reader.failed || !fits(handle, fileSize) ? null : handle;
}

function readHandle(reader: ByteReader): BlockHandle {
  return { offset: reader.varint(), size: reader.varint() };
}

function fits(handle: BlockHandle, fileSize: number): boolean {
  return handle.offset + handle.size + trailerBytes <= fileSize - footerBytes;
}

/** Whether a block with its trailer, as read from the file, has the CRC it carries. */
export function blockIntact(withTrailer: Buffer): boolean {
  const end = withTrailer.length - 4;
  return end >= 1 && maskedCrc(withTrailer.subarray(0, end)) === withTrailer.readUInt32LE(end);
}

/**
 * Walks the entries of one uncompressed block: keys are prefix-compressed against the entry before, then comes the
 * value; restart offsets close the block. Reused for many blocks; `key` and the value range live until the next step.
 */
export class BlockCursor {
  /** Key bytes; only the first `wholeKeyLength` count. For data and index blocks the last eight are sequence and type. */
  key: Buffer = Buffer.alloc(256);
  wholeKeyLength = 0;
  valueStart = 0;
  valueEnd = 0;
  /** Why the walk ended early, or null. */
  problem: string | null = null;
  /** The block. */
  bytes: Buffer = Buffer.alloc(0);
  private chars: string | null = null;
  private at = 0;
  private end = 0;

  open(block: Buffer): void {
    this.bytes = block;
    this.chars = null;
    this.at = 0;
    this.wholeKeyLength = 0;
    this.problem = null;
    const restarts = block.length < 4 ? 0 : block.readUInt32LE(block.length - 4);
    this.end = block.length - 4 * (restarts + 1);
    // LevelDB writes at least one restart point, at 0.
    if (restarts < 1 || this.end < 0) this.fail('the restart array does not fit the block');
  }

  /** Moves to the next entry; false at the end and at the first malformed entry. */
  next(): boolean {
    if (this.problem !== null || this.at >= this.end) return false;
    const shared = this.length();
    const unshared = this.length();
    const valueLength = this.length();
    if (this.problem !== null) return false;
    const keyStart = this.at;
    if (shared > this.wholeKeyLength || unshared + valueLength > this.end - keyStart) {
      return this.fail('an entry does not fit its block');
    }
    this.valueStart = keyStart + unshared;
    this.valueEnd = this.valueStart + valueLength;
    this.takeKey(shared, keyStart);
    this.at = this.valueEnd;
    return true;
  }

  /** The block with one character per byte (latin1). */
  get text(): string {
    this.chars ??= this.bytes.toString('latin1');
    return this.chars;
  }

  /** Length of the entry's user key in bytes. */
  get keyLength(): number {
    return Math.max(0, this.wholeKeyLength - internalKeyBytes);
  }

  /** The entry's user key, a view into the reused key buffer. */
  userKey(): Buffer {
    return this.key.subarray(0, this.keyLength);
  }

  /** The entry's value, a view into the block. */
  value(): Buffer {
    return this.bytes.subarray(this.valueStart, this.valueEnd);
  }

  get isInternal(): boolean {
    return this.wholeKeyLength >= internalKeyBytes;
  }

  /** {@link valueDeleted} or {@link valuePut}; anything else is malformed. */
  get type(): number {
    return this.key[this.wholeKeyLength - internalKeyBytes] ?? -1;
  }

  /** 56 bits; exact up to 2^53, far beyond what any store has written. */
  get sequence(): number {
    const at = this.wholeKeyLength - internalKeyBytes;
    return (this.key.readUInt32LE(at) >>> 8) + this.key.readUInt32LE(at + 4) * 2 ** 24;
  }

  private takeKey(shared: number, keyStart: number): void {
    this.wholeKeyLength = shared + this.valueStart - keyStart;
    if (this.wholeKeyLength > this.key.length) {
      const grown = Buffer.alloc(this.wholeKeyLength * 2);
      this.key.copy(grown, 0, 0, shared);
      this.key = grown;
    }
    for (let to = shared, from = keyStart; from < this.valueStart; ) this.key[to++] = this.bytes[from++] ?? 0;
  }

  /** A varint of at most 32 bits: entry lengths are never larger. */
  private length(): number {
    let value = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.at < this.end ? (this.bytes[this.at++] ?? 0) : -1;
      if (byte < 0) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    this.fail('an entry length is malformed');
    return 0;
  }

  private fail(problem: string): false {
    this.problem = problem;
    return false;
  }
}
