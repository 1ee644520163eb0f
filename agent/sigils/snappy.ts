/** A literal byte costs at least one byte and a copy yields at most 64 bytes from three, so no output can be longer. */
const maxExpansion = 22;

/**
 * Decodes one raw Snappy block (google/snappy `format_description.txt`) into a buffer that is reused, so that a scan
 * allocates nothing per block. The claimed size is not believed: it must be possible for the input, fit
 * `maxOutputBytes`, and be met exactly.
 */
export class SnappyDecoder {
  private output = Buffer.alloc(16 * 1024);
  private readonly maxOutputBytes: number;

  constructor(maxOutputBytes: number) {
    this.maxOutputBytes = maxOutputBytes;
  }

  /** The decoded bytes as a view that lives until the next call, or null when the input is malformed. */
  decode(input: Buffer): Buffer | null {
    let size = 0;
    let at = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = input[at++];
      if (byte === undefined || scale > 2 ** 28) return null;
      size += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    if (size > this.maxOutputBytes || size > input.length * maxExpansion) return null;
    if (size > this.output.length) this.output = Buffer.allocUnsafe(size);
    return decodeElements(input, at, this.output, size) ? this.output.subarray(0, size) : null;
  }
}

function decodeElements(input: Buffer, start: number, output: Buffer, size: number): boolean {
  let at = start;
  let written = 0;
  while (at < input.length) {
    const tag = input[at++] ?? 0;
    const kind = tag & 3;
    if (kind === 0) {
      const lengthBytes = Math.max(0, (tag >> 2) - 59);
      if (at + lengthBytes > input.length) return false;
      const length = (lengthBytes === 0 ? tag >> 2 : littleEndian(input, at, lengthBytes)) + 1;
      at += lengthBytes;
      if (length > input.length - at || length > size - written) return false;
      copyBytes(input, at, output, written, length);
      at += length;
      written += length;
      continue;
    }
    const offsetBytes = kind === 3 ? 4 : kind;
    if (at + offsetBytes > input.length) return false;
    const length = kind === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const offset = littleEndian(input, at, offsetBytes) + (kind === 1 ? (tag >> 5) << 8 : 0);
    at += offsetBytes;
    if (offset === 0 || offset > written || length > size - written) return false;
    // Byte by byte, since a copy may overlap what it writes: that is how Snappy repeats a pattern.
    for (let from = written - offset, to = written; from < written - offset + length; ) {
      output[to++] = output[from++] ?? 0;
    }
    written += length;
  }
  return written === size;
}

function littleEndian(input: Buffer, at: number, count: number): number {
  let value = 0;
  for (let index = count - 1; index >= 0; index--) value = value * 256 + (input[at + index] ?? 0);
  return value;
}

/** A native copy has a fixed price; below it a loop is faster. */
function copyBytes(input: Buffer, from: number, output: Buffer, to: number, length: number): void {
  if (length > 48) {
    input.copy(output, to, from, from + length);
    return;
  }
  for (let index = 0; index < length; index++) output[to + index] = input[from + index] ?? 0;
}
