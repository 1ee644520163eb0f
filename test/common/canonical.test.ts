import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { canonicalBytes, canonicalText, isPlainlyCanonical } from '../../common/canonical.ts';
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

describe('the quick look at a text', () => {
  /** Names that JavaScript orders or treats in ways of its own, beside plain ones. */
  const name = fc.oneof(
    fc.constantFrom(
      'a',
      'b',
      'ab',
      'A',
      '',
      '1',
      '9',
      '10',
      '02',
      '-1',
      '__proto__',
      'constructor',
      'toJSON',
      'é',
      '\ufffd',
    ),
    fc.constantFrom('\u{1f600}', '\ue000', '\ud7ff', '\ud83d', '\\ud800', '\u2028', '\u007f', '\u0000', '"', '/'),
    fc.string({ unit: 'binary', maxLength: 4 }),
  );
  const scalar = fc.oneof(
    name,
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    fc.constantFrom(null, true, -0, 1e21, 1e-7, 2 ** 53),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, scalar, fc.array(tie('value')), tie('object')),
    object: fc.array(fc.tuple(name, tie('value')), { maxLength: 5 }).map((members) => members),
  }));
  /** JSON text with the members in any order, numbers and escapes in any spelling, white space now and then. */
  const spelling = fc
    .tuple(value, fc.infiniteStream(fc.nat(19)))
    .map(([generated, stream]) => write(generated, stream));

  function write(generated: unknown, stream: Iterator<number>): string {
    const die = (): number => stream.next().value ?? 0;
    if (typeof generated === 'string') return writeString(generated, die);
    if (typeof generated === 'number' && die() === 0)
      return /^-?\d+$/.test(`${generated}`) ? `${generated}.0` : `${generated}`;
    if (!Array.isArray(generated)) return Object.is(generated, -0) ? '-0' : (JSON.stringify(generated) ?? 'null');
    const gap = die() === 0 ? ' ' : '';
    const isObject = generated.length > 0 && generated.every((one) => Array.isArray(one) && typeof one[0] === 'string');
    if (!isObject) return `[${generated.map((one) => write(one, stream)).join(`,${gap}`)}]`;
    const members = die() < 15 ? generated.toSorted(([a], [b]) => (a < b ? -1 : 1)) : generated;
    return `{${members.map(([key, one]) => `${writeString(key, die)}:${write(one, stream)}`).join(`,${gap}`)}}`;
  }

  function writeString(text: string, die: () => number): string {
    if (die() > 0 || text === '') return JSON.stringify(text);
    return `"\\u${text.charCodeAt(0).toString(16).padStart(4, '0')}${JSON.stringify(text.slice(1)).slice(1)}`;
  }

  function slowly(text: string): boolean {
    try {
      return canonicalText(JSON.parse(text)) === text;
    } catch {
      return false;
    }
  }

  test('never calls a text canonical that is not', () => {
    let [quick, refused] = [0, 0];
    fc.assert(
      fc.property(spelling, (text) => {
        const canonical = slowly(text);
        if (isPlainlyCanonical(text, JSON.parse(text))) {
          quick += 1;
          assert.ok(canonical, text);
        }
        if (!canonical) refused += 1;
      }),
      { numRuns: process.env.SIGILWATCH_TEST_LONG === '1' ? 500_000 : 20_000 },
    );
    assert.ok(quick > 1_000 && refused > 1_000, `too one-sided: ${quick} accepted, ${refused} refused`);
  });

  test('knows what the canonical text itself is, unless it is delicate', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'grapheme-ascii' }), (generated) => {
        const text = canonicalText(z.json().parse(JSON.parse(JSON.stringify(generated))));
        const known = isPlainlyCanonical(text, JSON.parse(text));
        // Numbers as names come out of JavaScript by size, not by spelling.
        assert.ok(known || /"\d+":|__proto__|\\ud/i.test(text), text);
      }),
    );
  });

  for (const text of [
    '"\\ud800"',
    '"\\uD800"',
    '{"b":1,"a":2}',
    '{"9":1,"10":2}',
    '{"a":1,"a":1}',
    '-0',
    '1.0',
    '"\ufffd"',
    '1e400',
  ]) {
    test(`does not answer for ${text}`, () => assert.ok(!isPlainlyCanonical(text, JSON.parse(text))));
  }
});
