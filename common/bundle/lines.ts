import { decodeBase64 } from '../encoding.ts';
import { AppError } from '../errors.ts';
import { signatureBytes } from '../keys.ts';
import { limits } from '../limits.ts';

/** One line of a file, without its end. */
export interface FileLine {
  /** Where it begins in the file, in bytes. */
  readonly offset: number;
  readonly bytes: Buffer;
}

/** An entry as it was signed, nothing of it judged. */
export interface CarriedEntry {
  readonly bytes: Buffer;
  readonly signature: Buffer;
}

const newline = 0x0a;
const space = 0x20;
/** Of a signature in base64. */
const signatureChars = Math.ceil(signatureBytes / 3) * 4;

/** Bytes of the longest line that an entry can make. */
export const maxEntryLineBytes = signatureChars + 2 + limits.maxEntryBytes;

/**
 * An entry as a line of a part: the signature in base64, a space, and the canonical bytes, in which no line can end (RFC 8785 escapes
 * control characters).
 */
export function entryLine({ bytes, signature }: CarriedEntry): Buffer {
  return Buffer.concat([Buffer.from(`${signature.toString('base64')} `), bytes, Buffer.of(newline)]);
}

/** The entry of a line; undefined for what is none. */
export function readEntryLine(line: Buffer): CarriedEntry | undefined {
  if (line[signatureChars] !== space) return undefined;
  const signature = decodeBase64(line.subarray(0, signatureChars).toString('latin1'));
  if (signature?.length !== signatureBytes) return undefined;
  return { signature, bytes: line.subarray(signatureChars + 1) };
}

/**
 * Splits what is read of a file into lines; holds no more than one of them and a piece.
 * @throws AppError `bundle.damaged` for a line that is longer than `maxBytes` or has no end.
 */
export async function* linesOf(
  pieces: AsyncIterable<Buffer>,
  file: string,
  maxBytes: number,
): AsyncGenerator<FileLine, void> {
  let rest: Buffer = Buffer.alloc(0);
  let offset = 0;
  for await (const piece of pieces) {
    rest = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    let from = 0;
    for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline, from)) {
      yield { offset: offset + from, bytes: rest.subarray(from, end) };
      from = end + 1;
    }
    rest = rest.subarray(from);
    offset += from;
    if (rest.length > maxBytes) throw damagedAt(file, offset, `a line of more than ${maxBytes} bytes`);
  }
  if (rest.length > 0) throw damagedAt(file, offset, 'a line without an end');
}

/** What is wrong with a file, and from which byte on. */
export function damagedAt(file: string, offset: number, reason: string): AppError {
  return new AppError('bundle.damaged', `${file} is damaged at byte ${offset}: ${reason}`, {
    details: { file, offset },
  });
}
