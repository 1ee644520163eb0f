import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { canonicalBytes, canonicalText } from '../../common/canonical.ts';
import { loadVectors } from './load-vectors.ts';

const source = z.string();
const canonicalVector = z.strictObject({ source, input: z.string(), output: z.string() });
const numbersVector = z.strictObject({
  source,
  samples: z.array(z.strictObject({ ieee754: z.string(), json: z.string() })),
  refused: z.array(z.string()),
});

const number = (ieee754: string): number => Buffer.from(ieee754, 'hex').readDoubleBE();

describe('canonical JSON is that of RFC 8785', () => {
  for (const { name, vector } of loadVectors('canonical', canonicalVector)) {
    test(`published: ${name}`, () => {
      const value = z.json().parse(JSON.parse(vector.input));
      assert.equal(canonicalText(value), vector.output);
      assert.deepEqual(canonicalBytes(value), Buffer.from(vector.output, 'utf8'));
    });
  }

  for (const { name, vector } of loadVectors('numbers', numbersVector)) {
    test(`published numbers: ${name}`, () => {
      for (const { ieee754, json } of vector.samples) assert.equal(canonicalText(number(ieee754)), json);
      for (const ieee754 of vector.refused) {
        assert.throws(() => canonicalText(number(ieee754)), { code: 'validation.entry' });
      }
    });
  }
});

test('canonical text means the same value, and canonicalising it again changes nothing', () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: 'grapheme' }), (generated) => {
      const value = z.json().parse(JSON.parse(JSON.stringify(generated)));
      const text = canonicalText(value);
      const read = z.json().parse(JSON.parse(text));
      assert.deepEqual(read, value);
      assert.equal(canonicalText(read), text);
    }),
  );
});

test('what cannot be written in UTF-8 has no canonical form', () => {
  for (const value of ['\ud800', { '\udc00': 1 }, ['a', { b: 'x\ud83d' }]]) {
    assert.throws(() => canonicalText(value), { code: 'validation.entry' });
  }
});
