/** A literal byte costs at least one byte and a copy yields at most 64 bytes from three, so no output can be longer. */
const maxExpansion = 22;
/** Bytes are copied four at a time, so up to three too many. */
const wordBytes = 4;
const slackBytes = wordBytes - 1;

/**
 * Decodes one raw Snappy block (google/snappy `format_description.txt`) into a buffer that is reused, so that a scan
 * allocates nothing per block. The claimed size is not believed: it must be possible for the input, fit
 * `maxOutputBytes`, and be met exactly.
 */
export class SnappyDecoder {
  private output = Buffer.alloc(16 * 1024);
  private view = viewOf(this.output);
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
    if (size + slackBytes > this.output.length) {
      this.output = Buffer.allocUnsafeSlow(size + slackBytes);
      this.view = viewOf(this.output);
    }
    return decodeElements(viewOf(input), at, this.view, size) ? this.output.subarray(0, size) : null;
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** The output has room for `size` bytes and {@link slackBytes} more. */
function decodeElements(input: DataView, start: number, output: DataView, size: number): boolean {
  const end = input.byteLength;
  let at = start;
  let written = 0;
  while (at < end) {
    const tag = input.getUint8(at++);
    const kind = tag & 3;
    if (kind === 0) {
      const lengthBytes = Math.max(0, (tag >> 2) - 59);
      if (at + lengthBytes > end) return false;
      const length = (lengthBytes === 0 ? tag >> 2 : littleEndian(input, at, lengthBytes)) + 1;
      at += lengthBytes;
      if (length > end - at || length > size - written) return false;
      copyLiteral(input, at, output, written, length);
      at += length;
      written += length;
      continue;
    }
    const offsetBytes = kind === 3 ? 4 : kind;
    if (at + offsetBytes > end) return false;
    const length = kind === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const offset = littleEndian(input, at, offsetBytes) + (kind === 1 ? (tag >> 5) << 8 : 0);
    at += offsetBytes;
    if (offset === 0 || offset > written || length > size - written) return false;
    repeat(output, written - offset, written, length);
    written += length;
  }
  return written === size;
}

function littleEndian(input: DataView, at: number, count: number): number {
  let value = 0;
  for (let index = count - 1; index >= 0; index--) value = value * 256 + input.getUint8(at + index);
  return value;
}

function copyLiteral(input: DataView, from: number, output: DataView, to: number, length: number): void {
  const end = from + length;
  let into = to;
  if (end + slackBytes > input.byteLength) {
    for (let at = from; at < end; at++) output.setUint8(into++, input.getUint8(at));
    return;
  }
  for (let at = from; at < end; at += wordBytes, into += wordBytes) output.setUint32(into, input.getUint32(at));
}

/** A copy may overlap what it writes: that is how Snappy repeats a pattern. A whole word may not. */
function repeat(output: DataView, from: number, to: number, length: number): void {
  const end = to + length;
  let at = from;
  if (to - from < wordBytes) {
    for (let into = to; into < end; into++) output.setUint8(into, output.getUint8(at++));
    return;
  }
  for (let into = to; into < end; into += wordBytes, at += wordBytes) output.setUint32(into, output.getUint32(at));
}
