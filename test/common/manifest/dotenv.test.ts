// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the variables are compose's
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readDotenv } from '../../../common/manifest/dotenv.ts';

const read = (text: string, known: Record<string, string> = {}) => {
  const reading = readDotenv(text, new Map(Object.entries(known)));
  return reading.ok ? Object.fromEntries(reading.variables) : `${reading.line}:${reading.column} ${reading.reason}`;
};

describe('an env file is read as compose reads it', () => {
  const cases: readonly (readonly [name: string, text: string, expected: Record<string, string>])[] = [
    ['nothing', '', {}],
    ['comments and blank lines', '# a\n\n  # b\nA=1 # c\n#B=2', { A: '1' }],
    ['a # inside a word', 'A=a#b', { A: 'a#b' }],
    ['export, spaces, a colon', 'export A=1\n  B = 2  \nC: 3', { A: '1', B: '2', C: '3' }],
    ['nothing behind the sign', 'A=\nB=2', { A: '', B: '2' }],
    ['other line ends and a byte order mark', '\ufeffA=1\r\nB="2"\r\n', { A: '1', B: '2' }],
    ['double quotes', 'A="a # \\"b\\"\\n\\tc \\$d \\x" # e', { A: 'a # "b"\n\tc $d \\x' }],
    ['single quotes', `A='a "b" $C \\n it\\'s'`, { A: `a "b" $C \\n it's` }],
    ['several lines', 'A="one\ntwo"\nB=\'three\nfour\'', { A: 'one\ntwo', B: 'three\nfour' }],
    ['variables of the lines before', 'A=1\nB=${A}2\nC="$B/${B}"\nD=${X:-4}', { A: '1', B: '12', C: '12/12', D: '4' }],
    ['the last of a name', 'A=1\nA=2', { A: '2' }],
    ['no names that begin with a digit', '1A=1\nB=2', { B: '2' }],
  ];
  for (const [name, text, expected] of cases) {
    test(name, () => assert.deepEqual(read(text), expected));
  }

  test('with what is known already before what the file says', () => {
    assert.deepEqual(read('A=1\nB=$A\nA2\nA', { A: 'known', A2: 'too' }), { A: 'known', A2: 'too', B: 'known' });
  });

  test('any value comes back from single quotes', () => {
    const value = fc.string({ unit: 'grapheme' }).filter((text) => !/[\\']/.test(text));
    fc.assert(fc.property(value, (text) => assert.deepEqual(read(`A='${text}'`), { A: text })));
  });
});

describe('an env file is refused with line and column', () => {
  for (const [name, text, expected] of [
    ['a value from a shell', 'A=1\n  B\n', '2:3 B has no value: it would come from a shell, and git does not say it'],
    ['a variable that git does not know', 'A=$B', /^1:1 A: git does not say the value of B/],
    ['a name with a space', 'A=1\nA b=2', '2:1 NAME=value'],
    ['no name', '\n\n=2', '3:1 NAME=value'],
    ['an open quote', 'A=1\nB="x\ny', '2:1 a closing "'],
    ['more behind the quotes', 'A="x" y', '1:1 nothing but a comment after the quotes'],
  ] as const) {
    test(name, () => {
      const found = String(read(text));
      if (expected instanceof RegExp) assert.match(found, expected);
      else assert.equal(found, expected);
    });
  }

  test('whatever the text, it is read or refused, and at once', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-C=:'"\\$ #\n{}-]{0,60}$/), (text) => assert.ok(read(text) !== undefined)),
    );
    const startMs = performance.now();
    read('A=1\n'.repeat(200_000));
    read('#\n'.repeat(200_000));
    assert.ok(performance.now() - startMs < 5_000);
  });
});
