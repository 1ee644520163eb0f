import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createBundleParts } from '../../../agent/link/bundle-parts.ts';
import { limits } from '../../../common/limits.ts';
import { type CollectorMessage, collectorMessage, type MessageOf } from '../../../common/protocol.ts';

type Part = MessageOf<CollectorMessage, 'desired'>;

const commit = 'c'.repeat(40);
const whole = Buffer.from(Array.from({ length: 100 }, (_, i) => i));

function part(offset: number, bytes: number, said: Partial<Part> = {}): Part {
  const bundle = whole.subarray(offset, offset + bytes).toString('base64');
  return { type: 'desired', commit, sizeBytes: whole.length, offset, bundle, ...said };
}

describe('a bundle that comes in parts', () => {
  test('is put together in order, and handed on with its last part only', () => {
    const parts = createBundleParts();
    assert.deepEqual([parts.take(part(0, 40)), parts.take(part(40, 40))], [undefined, undefined]);
    assert.deepEqual(parts.take(part(80, 40)), { commit, bytes: whole });
    assert.deepEqual(parts.take(part(0, 100)), { commit, bytes: whole });
    assert.deepEqual(parts.take(part(0, 0, { sizeBytes: 0 })), { commit, bytes: Buffer.alloc(0) });
  });

  test('is whole however small they are', () => {
    const parts = createBundleParts();
    for (let offset = 0; offset < 99; offset += 1) assert.equal(parts.take(part(offset, 1)), undefined);
    const handed = parts.take(part(99, 1));
    assert.deepEqual(handed, { commit, bytes: whole });
  });

  test('gives way to one that begins', () => {
    const parts = createBundleParts();
    const other = 'd'.repeat(40);
    parts.take(part(0, 40));
    parts.take(part(0, 60, { commit: other }));
    assert.deepEqual(parts.take(part(60, 40, { commit: other })), { commit: other, bytes: whole });
  });

  test('is nothing with a gap, a repetition, another size, too much, or too little', () => {
    for (const wrong of [
      ...[part(50, 10), part(0, 40, { offset: 39 }), part(40, 40, { sizeBytes: 99 }), part(40, 0)],
      ...[part(40, 40, { commit: 'd'.repeat(40) }), part(40, 60, { bundle: Buffer.alloc(61).toString('base64') })],
    ]) {
      const parts = createBundleParts();
      parts.take(part(0, 40));
      assert.throws(() => parts.take(wrong), { code: 'validation.protocol' });
      assert.throws(() => parts.take(part(40, 60)), { code: 'validation.protocol' }, 'what was begun is gone');
    }
  });

  test('is bounded, as a whole and in each part', () => {
    const sizeBytes = limits.maxOfferedBundleBytes + 1;
    assert.throws(() => createBundleParts().take(part(0, 40, { sizeBytes })), { code: 'validation.too_large' });
    const bundle = 'A'.repeat(limits.maxBundleChars + 4);
    assert.equal(collectorMessage.safeParse(part(0, 40, { bundle })).success, false);
  });
});
