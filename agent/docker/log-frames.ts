/** Tells the end of a container's output from its frames, holding little more than that end. */
export interface OutputTail {
  push(chunk: Buffer): void;
  /** Whatever came so far. UTF-8, without a character that was cut in half at its beginning. */
  text(): string;
}

const headerBytes = 8;

/**
 * Reads what the engine answers for a container's logs and keeps the last `maxBytes` of it. Without a terminal it comes in frames:
 * one byte for the stream (0 to 2), three zero bytes, a length of four bytes, the output. With one it comes as it is, and
 * engines before API 1.42 do not say which: what is no frame is output. Source: Engine API, `ContainerAttach`.
 */
export function outputTail(maxBytes: number): OutputTail {
  let header: Buffer = Buffer.alloc(0);
  let owedBytes = 0;
  let framed = true;
  let pieces: Buffer[] = [];
  let heldBytes = 0;
  let cut = false;

  const keep = (piece: Buffer): void => {
    pieces.push(piece);
    heldBytes += piece.length;
    // Now and then, so that not every piece is copied again for each that follows.
    if (heldBytes > 2 * maxBytes) trim();
  };

  const trim = (): void => {
    if (heldBytes <= maxBytes) return;
    pieces = [Buffer.concat(pieces).subarray(-maxBytes)];
    heldBytes = maxBytes;
    cut = true;
  };

  const push = (chunk: Buffer): void => {
    let at = 0;
    while (at < chunk.length) {
      if (!framed) {
        keep(chunk.subarray(at));
        return;
      }
      if (owedBytes > 0) {
        const piece = chunk.subarray(at, at + owedBytes);
        keep(piece);
        owedBytes -= piece.length;
        at += piece.length;
        continue;
      }
      const more = chunk.subarray(at, at + headerBytes - header.length);
      header = Buffer.concat([header, more]);
      at += more.length;
      framed = isFrame(header);
      if (framed && header.length < headerBytes) return;
      if (framed) owedBytes = header.readUInt32BE(4);
      else keep(header);
      header = Buffer.alloc(0);
    }
  };

  return {
    push,
    text: () => {
      trim();
      const all = Buffer.concat(pieces);
      return all.subarray(cut ? beginOfCharacter(all) : 0).toString('utf8');
    },
  };
}

/** Behind the bytes that go on a character whose beginning was cut off. */
function beginOfCharacter(bytes: Buffer): number {
  return Math.max(
    0,
    bytes.subarray(0, 4).findIndex((byte) => byte >> 6 !== 0b10),
  );
}

/** Whether these may be the first bytes of a frame. */
function isFrame(bytes: Buffer): boolean {
  return (bytes[0] ?? 0) <= 2 && [1, 2, 3].every((at) => (bytes[at] ?? 0) === 0);
}
