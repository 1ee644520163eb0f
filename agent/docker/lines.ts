const newline = 0x0a;

export interface LineSplitterOptions {
  readonly maxBytes: number;
  readonly onLine: (line: string) => void;
  /** A line passed `maxBytes`: it is skipped to its end, and what follows is read again. */
  readonly onOverlong: () => void;
}

/**
 * Splits a byte stream into UTF-8 lines, whatever the chunk boundaries, and holds at most `maxBytes` of an unfinished
 * line. Empty lines are dropped. A last line without newline is never delivered: it may be half of one.
 */
export function lineSplitter(options: LineSplitterOptions): (chunk: Buffer) => void {
  let pieces: Buffer[] = [];
  let heldBytes = 0;
  let skipping = false;

  const hold = (piece: Buffer): void => {
    if (skipping) return;
    heldBytes += piece.length;
    if (heldBytes <= options.maxBytes) {
      pieces.push(piece);
      return;
    }
    pieces = [];
    skipping = true;
    options.onOverlong();
  };

  const finish = (): void => {
    const line = Buffer.concat(pieces).toString('utf8').trim();
    pieces = [];
    heldBytes = 0;
    skipping = false;
    if (line !== '') options.onLine(line);
  };

  return (chunk) => {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      hold(chunk.subarray(start, end));
      finish();
      start = end + 1;
    }
    if (start < chunk.length) hold(chunk.subarray(start));
  };
}
