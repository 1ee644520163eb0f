import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { lineSplitter } from '../../../agent/docker/lines.ts';

function split(chunks: readonly Buffer[], maxBytes: number): { lines: string[]; overlong: number } {
  const lines: string[] = [];
  let overlong = 0;
  const push = lineSplitter({
    maxBytes,
    onLine: (line) => lines.push(line),
    onOverlong: () => {
      overlong += 1;
    },
  });
  for (const chunk of chunks) push(chunk);
  return { lines, overlong };
}

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const cuts = [...new Set([0, ...at.map((place) => place % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  return cuts.slice(1).map((end, index) => bytes.subarray(cuts[index], end));
}

test('lines come out whole however the stream is cut, also inside a character', () => {
  const line = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 20 })
    .map((text) => `<${text.replaceAll('\n', ' ')}>`);
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat()), (lines, places) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
      const expected = lines.map((text) => text.toWellFormed());
      assert.deepEqual(split(cut(bytes, places), 10_000), { lines: expected, overlong: 0 });
    }),
  );
});

test('a line over the limit is dropped and counted once, and the next line is read again', () => {
  const bytes = Buffer.from(`short\n${'x'.repeat(50)}\nafter\n`);
  for (const size of [1, 7, 10, 100]) {
    const chunks = cut(
      bytes,
      Array.from({ length: 100 / size }, (_, index) => index * size),
    );
    assert.deepEqual(split(chunks, 10), { lines: ['short', 'after'], overlong: 1 });
  }
});

test('an unfinished last line is not delivered, since it may be half of one', () => {
  assert.deepEqual(split([Buffer.from('whole\n{"half"')], 100), { lines: ['whole'], overlong: 0 });
});
