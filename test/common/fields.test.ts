import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { canonicalText } from '../../common/canonical.ts';
import { clip, count, foreignText, hex64, nodeName, timestamp } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 2_000, size: 'max' }),
  fc
    .array(fc.integer({ min: 0xd7f0, max: 0xe010 }), { maxLength: 1_200, size: 'max' })
    .map((units) => String.fromCharCode(...units)),
);

describe('clip', () => {
  test('makes a foreign text of anything, and one that has a canonical form', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const clipped = clip(text);
        assert.equal(foreignText.parse(clipped), clipped);
        canonicalText(clipped);
      }),
    );
  });

  test('leaves what fits as it is, and marks what does not', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const fits = text.length <= limits.maxForeignTextChars;
        if (fits) assert.equal(clip(text), text.toWellFormed());
        else assert.match(clip(text), /…$/u);
        assert.equal(clip(clip(text)), clip(text));
      }),
    );
    assert.equal(clip('😀'.repeat(300)).length, limits.maxForeignTextChars);
  });
});

describe('a timestamp', () => {
  test('is RFC 3339 in UTC with milliseconds, from 1970 to 9999', () => {
    for (const text of ['1970-01-01T00:00:00.000Z', '2024-02-29T23:59:59.999Z', '9999-12-31T23:59:59.999Z']) {
      assert.equal(timestamp.parse(text), text);
    }
    for (const text of [
      '1969-12-31T23:59:59.999Z',
      '0000-01-01T00:00:00.000Z',
      '2026-01-01T00:00:00Z',
      '2026-01-01T00:00:00.0000Z',
      '2026-01-01 00:00:00.000Z',
      '2026-01-01T00:00:00.000',
      '2026-01-01T00:00:00.000+00:00',
      '2026-01-01T00:00:00.000z',
      '2026-01-01T24:00:00.000Z',
      '2026-01-01T00:00:60.000Z',
      '2026-02-29T00:00:00.000Z',
      '2026-13-01T00:00:00.000Z',
      '+010000-01-01T00:00:00.000Z',
      '2026-01-01T00:00:00.000Z\n',
      '',
    ]) {
      assert.ok(!timestamp.safeParse(text).success, JSON.stringify(text));
    }
  });

  test('is what a clock within those years makes', () => {
    const years = { min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true };
    fc.assert(fc.property(fc.date(years), (date) => timestamp.safeParse(date.toISOString()).success));
  });
});

describe('a node name', () => {
  test('is a DNS label', () => {
    for (const name of ['a', 'lyra', 'node1', '0', 'a-b', 'x'.repeat(63)]) assert.equal(nodeName.parse(name), name);
    for (const name of [
      '',
      '-a',
      'a-',
      'A',
      'a.b',
      'a/b',
      'a_b',
      'ä',
      'a\n',
      '\na',
      'x'.repeat(64),
      '..',
      'a b',
      'a+b',
    ]) {
      assert.ok(!nodeName.safeParse(name).success, JSON.stringify(name));
    }
  });
});

describe('numbers and hashes', () => {
  test('a count is a safe integer from 0 on', () => {
    for (const value of [0, 1, Number.MAX_SAFE_INTEGER]) assert.equal(count.parse(value), value);
    for (const value of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, '1', null]) {
      assert.ok(!count.safeParse(value).success, String(value));
    }
  });

  test('a hash is 64 lower-case hex digits', () => {
    assert.ok(hex64.safeParse('0123456789abcdef'.repeat(4)).success);
    for (const text of ['', 'a'.repeat(63), 'a'.repeat(65), 'A'.repeat(64), `${'a'.repeat(64)}\n`, 'g'.repeat(64)]) {
      assert.ok(!hex64.safeParse(text).success, JSON.stringify(text));
    }
  });
});
