import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { type Edit, editYaml } from '../../../common/manifest/edit.ts';
import type { YamlPath } from '../../../common/manifest/place.ts';
import { asPlain } from '../../../common/manifest/written.ts';
import { type Written, yamlText } from '../../../common/manifest/yaml-text.ts';

const map = (path: YamlPath, set: Record<string, Written>, remove: string[] = []): Edit => {
  return { kind: 'map', path, set: new Map(Object.entries(set)), remove };
};
interface ListChange {
  readonly set?: readonly (readonly [number, Written])[];
  readonly append?: readonly Written[];
  readonly remove?: readonly number[];
}
const list = (path: YamlPath, { set = [], append = [], remove = [] }: ListChange): Edit => {
  return { kind: 'list', path, set: new Map(set), append, remove };
};

describe('everything that is not edited keeps its place, its form and its comments', () => {
  const cases: Readonly<Record<string, readonly [before: string, edits: readonly Edit[], after: string]>> = {
    'a value, with its comment': [
      'a: 1 # one\nb:   2   # two\n',
      [map([], { b: 'no' })],
      'a: 1 # one\nb:   "no"   # two\n',
    ],
    'a new key comes last': [
      'x:\n    a: 1 # c\n\ny: 2\n',
      [map(['x'], { b: '07' })],
      'x:\n    a: 1 # c\n    b: "07"\n\ny: 2\n',
    ],
    'a key that goes': ['x:\n  a: 1\n  b: 2 # gone\n  c: 3\n', [map(['x'], {}, ['b'])], 'x:\n  a: 1\n  c: 3\n'],
    braces: ['- {a: 1,  b: "2" } # c\n', [map([0], { b: true, c: ['x'] }, ['a'])], '- {b: true, c: [x] } # c\n'],
    brackets: ['p: [ a, b, c ]\n', [list(['p'], { remove: [0, 2], append: ['d, e'] })], 'p: [ b, "d, e" ]\n'],
    'a block of text': ['a: |\n  x\n  y\nb: 1\n', [map([], { a: 'z' })], 'a: z\nb: 1\n'],
    'a new item of an empty list': [
      'a: []   # none\nb: 1\n',
      [list(['a'], { append: [new Map([['k', 1]])] })],
      'a:   # none\n  - k: 1\nb: 1\n',
    ],
    'a section with nothing in it': ['a:\n#  - x\nb: 1\n', [map([], { a: ['z'] })], 'a:\n  - z\n#  - x\nb: 1\n'],
    'a list without indentation': ['a:\n- x\nb: 1\n', [list(['a'], { append: ['z'] })], 'a:\n- x\n- z\nb: 1\n'],
    'items that are apart stay apart': [
      '- a: 1\n\n- a: 2\n',
      [list([], { append: [new Map([['a', 3]])] })],
      '- a: 1\n\n- a: 2\n\n- a: 3\n',
    ],
    'an item goes with its comment': ['- a\n\n# of b\n- b\n\n- c\n', [list([], { remove: [1] })], '- a\n\n- c\n'],
    'an item of the same place': ['- a # x\n- b\n', [list([], { set: [[0, '1e3']] })], '- "1e3" # x\n- b\n'],
    'no newline at the end': ['a:\n  - x', [list(['a'], { append: ['z'] })], 'a:\n  - x\n  - z'],
    'ends of lines of Windows': [
      'a:\r\n  - x\r\nb: 1\r\n',
      [list(['a'], { append: ['z'] })],
      'a:\r\n  - x\r\n  - z\r\nb: 1\r\n',
    ],
    'the last key and the last item go': [
      'a:\n  k: 1\nb:\n  - x\n',
      [map(['a'], {}, ['k']), list(['b'], { remove: [0] })],
      'a:\n  {}\nb:\n  []\n',
    ],
    'a merged map is overridden where it is used': [
      'b: &b {e: 1}\nc:\n  <<: *b\n',
      [map(['c'], { e: 2 })],
      'b: &b {e: 1}\nc:\n  <<: *b\n  e: 2\n',
    ],
  };
  for (const [name, [before, edits, after]] of Object.entries(cases)) {
    test(name, () => assert.equal(editYaml(before, edits), after));
  }
});

describe('what more would change than was asked for is not edited', () => {
  test('a value that others share', () => {
    assert.equal(editYaml('a: &x {k: 1}\nb: *x\n', [map(['a'], { k: 2 })]), undefined);
    assert.equal(editYaml('a: &x {k: 1}\nb: *x\n', [map(['b'], { k: 2 })]), undefined);
  });
  test('what is not there, and what is no YAML', () => {
    assert.equal(editYaml('a: 1\n', [map(['b'], { k: 2 })]), undefined);
    assert.equal(editYaml('a: [\n', [map([], { k: 2 })]), undefined);
    assert.equal(editYaml('', [map([], { k: 2 })]), undefined);
  });
});

const hostile = fc.oneof(
  fc.constantFrom(
    'yes',
    'no',
    'Off',
    '~',
    'null',
    '0755',
    '1e3',
    '1_000',
    '12:30:45',
    '0x1F',
    '.5',
    '-',
    '- a',
    'a: b',
    'a #b',
  ),
  fc.constantFrom(
    '#',
    '"',
    "'",
    '{x}',
    '[y]',
    '*a',
    '&b',
    '!c',
    '|',
    '>',
    '%',
    '@',
    '`',
    '',
    ' ',
    'a\nb\n',
    '\t',
    '$V',
    '$$',
    '<<',
    '=',
  ),
  fc.constantFrom(
    '\u0085',
    '\u2028',
    '\ufeff',
    'äöü',
    '😀',
    '\u0000',
    '\u007f',
    'x'.repeat(200),
    'a '.repeat(60),
    '2026-01-01',
  ),
  fc.string({ unit: 'grapheme' }),
);

test('any text comes back as it went in, from readers of YAML 1.2 and 1.1', () => {
  fc.assert(
    fc.property(fc.array(hostile), fc.dictionary(hostile, hostile, { noNullPrototype: true }), (words, texts) => {
      const value = new Map<string, Written>([
        ['words', words],
        ['command', words],
        ['texts', new Map(Object.entries(texts))],
      ]);
      for (const form of ['block', 'flow'] as const) {
        const text = yamlText(value, form);
        assert.deepEqual(parse(text, { uniqueKeys: false }), asPlain(value));
        assert.deepEqual(parse(text, { uniqueKeys: false, version: '1.1', merge: false }), asPlain(value));
        assert.ok(!/[^\n\x20-\x7e\u00a1-\uffff]/.test(text));
      }
    }),
  );
});

test('any edits of a crowded file change what they name and no other line', () => {
  const before = [
    '# head',
    'list:',
    '  # first',
    '  - name: a   # a',
    '    env: {A: "1", B: 2}',
    '    ports: [80, "81:81"]',
    '',
    '  - name: b',
    '    env:',
    '      - A=1 # one',
    '      - B=2',
    '    text: |',
    '      keep',
    '  # tail',
    'end: true # last',
  ];
  const text = fc.oneof(hostile, fc.integer(), fc.boolean());
  fc.assert(
    fc.property(
      fc.dictionary(hostile, text, { noNullPrototype: true }),
      fc.array(text),
      fc.subarray([0, 1]),
      (set, append, remove) => {
        delete set.ports;
        const edits = [map(['list', 0, 'env'], set), list(['list', 1, 'env'], { append, remove })];
        const after = editYaml(`${before.join('\n')}\n`, edits) ?? assert.fail('not edited');
        const lines = after.split('\n');
        const named = /env: {|=[12]/;
        for (const line of before.filter((one) => !named.test(one))) assert.ok(lines.includes(line), line);
        const isAll = remove.length === 2 && append.length === 0;
        const added = isAll ? 1 : append.length;
        assert.equal(lines.length, before.length + 1 - remove.length + added);
      },
    ),
  );
});
