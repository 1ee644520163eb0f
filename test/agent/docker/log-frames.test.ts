import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { outputTail } from '../../../agent/docker/log-frames.ts';

const plenty = 1_000_000;

function frame(to: number, output: Uint8Array): Buffer {
  const header = Buffer.of(to, 0, 0, 0, 0, 0, 0, 0);
  header.writeUInt32BE(output.length, 4);
  return Buffer.concat([header, output]);
}

/** What is told of a stream that comes in pieces of a few bytes. */
function told(bytes: Buffer, maxBytes: number, pieceBytes: number): string {
  const tail = outputTail(maxBytes);
  for (let at = 0; at < bytes.length; at += pieceBytes) tail.push(bytes.subarray(at, at + pieceBytes));
  return tail.text();
}

const pieceBytes = fc.integer({ min: 1, max: 40 });

describe('of a container\u2019s output', () => {
  test('all is told, in the order it came, however the frames are cut into pieces', () => {
    const frames = fc.array(fc.tuple(fc.constantFrom(0, 1, 2), fc.string({ unit: 'grapheme' })));
    fc.assert(
      fc.property(frames, pieceBytes, (list, size) => {
        const stream = Buffer.concat(list.map(([to, text]) => frame(to, Buffer.from(text))));
        assert.equal(told(stream, plenty, size), list.map(([, text]) => text).join(''));
      }),
    );
  });

  test('the end is told when it is more than may be told, from a whole character on', () => {
    const output = fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { maxLength: 60 });
    fc.assert(
      fc.property(output, fc.integer({ min: 4, max: 60 }), pieceBytes, (list, maxBytes, size) => {
        const text = told(Buffer.concat(list.map((part) => frame(1, Buffer.from(part)))), maxBytes, size);
        assert.ok(list.join('').endsWith(text));
        const bytes = Buffer.byteLength(text);
        assert.ok(bytes <= maxBytes && bytes > Math.min(maxBytes, Buffer.byteLength(list.join(''))) - 4);
      }),
    );
  });

  test('what is in no frames is told as it is', () => {
    for (const text of ['hi\n', 'a longer line than a header\n', '\u0001\u0002', 'ä'])
      for (const size of [1, 3, 100]) assert.equal(told(Buffer.from(text), plenty, size), text);
  });

  test('any bytes are told somehow, and never more than asked for', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(50), pieceBytes, (bytes, maxBytes, size) => {
        // Each byte that is no UTF-8 becomes one character of three.
        assert.ok(Buffer.byteLength(told(Buffer.from(bytes), maxBytes + 1, size)) <= 3 * (maxBytes + 1));
      }),
    );
  });
});
