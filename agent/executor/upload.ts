import { limits } from '../../common/limits.ts';
import { type Refused, refused } from './refused.ts';
import type { Framing } from './request-head.ts';

/** A body on its way to the engine: what came in goes out framed anew, so that both sides see the same end. */
export interface Upload {
  /** Header that says how the body is delimited, with its line end. */
  readonly header: string;
  /** What to send for what came; refused once it breaks its form or goes on after its end. */
  feed(chunk: Buffer): readonly Buffer[] | Refused;
  /** Whether all of it came. */
  isWhole(): boolean;
}

export function uploadOf(framing: Framing): Upload | Refused {
  switch (framing.kind) {
    case 'none':
      return refused('request.body', 'this call needs a body');
    case 'length':
      return framing.bytes > limits.executorMaxImageArchiveBytes ? tooLong() : lengthUpload(framing.bytes);
    case 'chunked':
      return chunkedUpload();
  }
}

function tooLong(): Refused {
  return refused('request.size', 'the body is too long');
}

function afterEnd(): Refused {
  return refused('request.form', 'the request is followed by more');
}

function lengthUpload(bytes: number): Upload {
  let left = bytes;
  return {
    header: `Content-Length: ${bytes}\r\n`,
    feed: (chunk) => {
      left -= chunk.length;
      return left < 0 ? afterEnd() : [chunk];
    },
    isWhole: () => left === 0,
  };
}

const crlf = Buffer.from('\r\n');
const lastChunk = Buffer.from('0\r\n\r\n');
/** Eight digits and a line end; a longer line is one with an extension, which nobody needs. */
const maxSizeLineChars = 10;

type Expecting = 'size' | 'data' | 'data-end' | 'last-end' | 'nothing';

/** The chunked coding (RFC 9112 §7.1) without extensions and trailers. */
function chunkedUpload(): Upload {
  let expecting: Expecting = 'size';
  let line = '';
  let left = 0;
  let total = 0;

  const takeLine = (byte: number): Refused | undefined => {
    line += String.fromCharCode(byte);
    if (!line.endsWith('\r\n')) return line.length < maxSizeLineChars ? undefined : badChunk();
    const text = line.slice(0, -2);
    line = '';
    if (expecting !== 'size') {
      if (text !== '') return badChunk();
      expecting = expecting === 'data-end' ? 'size' : 'nothing';
      return undefined;
    }
    if (!/^[0-9A-Fa-f]{1,8}$/.test(text)) return badChunk();
    left = Number.parseInt(text, 16);
    total += left;
    expecting = left === 0 ? 'last-end' : 'data';
    return total > limits.executorMaxImageArchiveBytes ? tooLong() : undefined;
  };

  const feed = (chunk: Buffer): readonly Buffer[] | Refused => {
    const out: Buffer[] = [];
    for (let at = 0; at < chunk.length; ) {
      if (expecting === 'nothing') return afterEnd();
      if (expecting === 'data') {
        const data = chunk.subarray(at, at + left);
        out.push(Buffer.from(`${data.length.toString(16)}\r\n`), data, crlf);
        at += data.length;
        left -= data.length;
        if (left === 0) expecting = 'data-end';
        continue;
      }
      const wrong = takeLine(chunk[at] ?? 0);
      if (wrong !== undefined) return wrong;
      at++;
      if (isWhole()) out.push(lastChunk);
    }
    return out;
  };
  // Apart from the loop, where the compiler takes `expecting` for what it was before the line was taken.
  const isWhole = (): boolean => expecting === 'nothing';
  return { header: 'Transfer-Encoding: chunked\r\n', feed, isWhole };
}

function badChunk(): Refused {
  return refused('request.form', 'the chunks of the body are not in order');
}
