import { crc32c } from '@node-rs/crc32';

/**
 * Reads LevelDB's primitive encodings (varint, fixed width, length-prefixed) from bytes an attacker may control. A read that does
 * not fit sets `failed`, which stays set, and returns 0 or an empty slice: callers check once, after the last read.
 */
export class ByteReader {
  failed = false;
  private readonly bytes: Buffer;
  private at: number;
  private readonly end: number;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = start;
    this.end = Math.min(end, bytes.length);
  }

  get position(): number {
    return this.at;
  }

  get done(): boolean {
    return this.failed || this.at >= this.end;
  }

  byte(): number {
    if (this.at >= this.end) {
      this.failed = true;
      return 0;
    }
    return this.bytes[this.at++] ?? 0;
  }

  /** An unsigned varint. Values past 2^53 - 1 fail: no length, offset, file number or count is that large. */
  varint(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 63; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return this.safe(value);
    }
    return this.safe(Number.POSITIVE_INFINITY);
  }

  /** Little-endian. */
  fixed32(): number {
    const from = this.skip(4);
    return this.failed ? 0 : this.bytes.readUInt32LE(from);
  }

  /** Little-endian; fails past 2^53 - 1 as {@link varint} does. */
  fixed64(): number {
    const low = this.fixed32();
    return this.safe(this.fixed32() * 2 ** 32 + low);
  }

  /** The next `length` bytes, as a view. */
  slice(length: number): Buffer {
    const from = this.skip(length);
    return this.failed ? empty : this.bytes.subarray(from, from + length);
  }

  /** A varint length and that many bytes, as a view. */
  prefixed(): Buffer {
    return this.slice(this.varint());
  }

  private skip(length: number): number {
    const from = this.at;
    if (this.failed || length > this.end - from) this.failed = true;
    else this.at = from + length;
    return from;
  }

  private safe(value: number): number {
    if (Number.isSafeInteger(value)) return value;
    this.failed = true;
    return 0;
  }
}

const empty = Buffer.alloc(0);

/** CRC-32C of `bytes` as LevelDB stores it: rotated and offset, so that a CRC over data holding CRCs stays meaningful. */
export function maskedCrc(bytes: Buffer): number {
  return maskCrc(crc32c(bytes));
}

/** The masking alone, for a CRC computed in parts. */
export function maskCrc(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
