// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the variables are compose's
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { interpolate } from '../../../common/manifest/interpolation.ts';

const known = new Map([
  ['A', 'a'],
  ['EMPTY', ''],
]);
const replaced = (text: string) => interpolate(text, (name) => known.get(name));

describe('variables are replaced as compose replaces them', () => {
  for (const [text, expected] of [
    ['$A-${A}', 'a-a'],
    ['$$A $${A}', '$A ${A}'],
    ['${B:-b}${B-b}', 'bb'],
    ['${EMPTY:-b}|${EMPTY-b}', 'b|'],
    ['${B:-}', ''],
    ['${B:-x ${A} ${C:-y}} z}', 'x a y z}'],
    ['${A:?needed}', 'a'],
    ['${A:+set}|${EMPTY:+set}|${EMPTY+set}', 'set||set'],
    ['plain', 'plain'],
  ] as const) {
    test(text, () => assert.deepEqual(replaced(text), { ok: true, value: expected }));
  }

  test('and one that git does not know is named', () => {
    for (const text of ['$B', '${B}', '${B:?needed}', '${B?}', '${B:+set}', '${C:-$B}', '${EMPTY:?needed}']) {
      const result = replaced(text);
      assert.match(
        result.ok ? 'accepted' : result.reason,
        /git does not say the value of (B|EMPTY); give it a default/,
      );
    }
  });

  test('and what is no variable is refused', () => {
    for (const text of ['$', 'a$ b', '$1', '${', '${}', '${A', '${A!x}', '${1}', '${B:-'.repeat(30) + '}'.repeat(30)]) {
      assert.equal(replaced(text).ok, false, text);
    }
  });

  test('any text comes through with its dollars doubled', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('$', '{', '}', 'A', ':', '-', 'é') }), (text) => {
        assert.deepEqual(replaced(text.replaceAll('$', '$$$$')), { ok: true, value: text });
      }),
    );
  });
});
