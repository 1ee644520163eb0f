import { isUtf8 } from 'node:buffer';
import type { FileHandle } from 'node:fs/promises';
import { limits } from '../../../common/limits.ts';

const chunkBytes = 1024 * 1024;
const newline = 0x0a;

/** Consecutive lines, and how many bytes of the file they end at. */
export interface LineBatch {
  /** Without newlines; undefined for one that is too long or not UTF-8. */
  readonly lines: readonly (string | undefined)[];
  readonly bytesRead: number;
}

/** The lines of a file, as many at once as one read gives. What follows the last newline is a line as well. */
export async function* readLines(file: FileHandle): AsyncGenerator<LineBatch> {
  let rest = Buffer.alloc(0);
  let bytesRead = 0;
  let overlong = false;
  for (;;) {
    const { bytesRead: count, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, bytesRead);
    if (count === 0) break;
    bytesRead += count;
    const chunk = rest.length === 0 ? buffer.subarray(0, count) : Buffer.concat([rest, buffer.subarray(0, count)]);
    const lines: (string | undefined)[] = [];
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      lines.push(overlong ? undefined : textOf(chunk.subarray(start, end)));
      overlong = false;
      start = end + 1;
    }
    // Of a line without end only that it was there is kept.
    overlong ||= chunk.length - start > limits.maxExportLineBytes;
    rest = overlong ? Buffer.alloc(0) : Buffer.from(chunk.subarray(start));
    yield { lines, bytesRead };
  }
  if (overlong || rest.length > 0) yield { lines: [overlong ? undefined : textOf(rest)], bytesRead };
}

/** The last line of a file without its newline; undefined when there is none, or it does not end in one, or is too long. */
export async function readLastLine(file: FileHandle): Promise<string | undefined> {
  const { size } = await file.stat();
  let tail = Buffer.alloc(0);
  for (let at = size; at > 0 && tail.length <= limits.maxExportLineBytes; ) {
    const count = Math.min(at, chunkBytes);
    at -= count;
    const { buffer } = await file.read(Buffer.alloc(count), 0, count, at);
    tail = Buffer.concat([buffer, tail]);
    if (tail.at(-1) !== newline) return undefined;
    const before = tail.length < 2 ? -1 : tail.lastIndexOf(newline, tail.length - 2);
    if (before >= 0 || at === 0) return textOf(tail.subarray(before + 1, -1));
  }
  return undefined;
}

function textOf(line: Buffer): string | undefined {
  return line.length <= limits.maxExportLineBytes && isUtf8(line) ? line.toString('utf8') : undefined;
}
