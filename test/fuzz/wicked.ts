import fc from 'fast-check';

/*
 * Values that have hurt somebody's parser, database, log or page.
 */

const longText = 'x'.repeat(100_000);
const deep = 10_000;

/** As text of our own, before it is encoded for wherever it goes. */
export const wickedTexts: readonly string[] = [
  ...[
    '',
    ' ',
    '\0',
    'a\0b',
    '\n',
    'a\r\nX-Injected: 1',
    '\u202egnp.exe',
    '\u200f',
    '\ufeff',
    '\ufffd',
    '\ud800',
    'a\udc00',
    '😀'.repeat(300),
  ],
  ...['__proto__', 'constructor', 'hasOwnProperty', 'toString', 'null', 'undefined', 'NaN', 'Infinity', 'true'],
  ...[
    '-1',
    '-0',
    '0',
    '1e309',
    '1e3',
    '0x10',
    '9007199254740993',
    '9223372036854775808',
    '2147483648',
    '99999999999999999999',
    '1.5',
    '٣',
  ],
  ...[
    "'",
    "' or '1'='1",
    "'; drop table entries; --",
    '%',
    '_',
    '\\',
    '\\0',
    '$\u007bjndi:x}',
    '{{7*7}}',
    '$1',
    '--',
    '/*',
  ],
  ...[
    '.',
    '..',
    '../../etc/passwd',
    '/',
    '//',
    '%2e%2e%2f',
    '%',
    '%zz',
    '%00',
    '%c0%af',
    '%ff',
    ';',
    '?',
    '#',
    '&',
    '=',
  ],
  ...['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', 'javascript:alert(1)', '=cmd()', '\u2028'],
  ...['1970-01-01T00:00:00Z', '9999-12-31T23:59:60Z', '-000001-01-01T00:00:00Z', '2026-02-30T00:00:00Z', '0000-00-00'],
  longText,
];

export const wickedText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...wickedTexts) },
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
);

/** What stands for one value in a JSON text, as it is written there. */
const wickedLiterals: readonly string[] = [
  ...['null', 'true', '0', '-0', '-1', '1e309', '-1e309', '1e-400', '1.5', '9007199254740993', '1'.repeat(400)],
  ...[
    'NaN',
    'Infinity',
    'undefined',
    '',
    '01',
    '+1',
    '.5',
    "'a'",
    '"unended',
    '"\\ud800"',
    '"\\u0000"',
    '"\\x"',
    '"\u0001"',
  ],
  ...[
    '[]',
    '{}',
    '[[]]',
    '{"__proto__":{"admin":true}}',
    '{"constructor":{"prototype":{"admin":true}}}',
    '{"a":1,"a":2}',
  ],
  ...['{"toJSON":1}', '{"then":1}', '{"length":1000000000}', '[,]', '{,}', '/**/1'],
  '['.repeat(deep),
  `${'['.repeat(deep)}${']'.repeat(deep)}`,
  `${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}`,
  `[${'0,'.repeat(25_000)}0]`,
  `[${'0,'.repeat(100_000)}0]`,
];

export const wickedJson: fc.Arbitrary<string> = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...wickedLiterals) },
  { weight: 2, arbitrary: wickedText.map((text) => JSON.stringify(text)) },
  fc.json(),
);

/** Bytes that are not UTF-8 (RFC 3629): overlong, surrogates, cut off, beyond U+10FFFF. */
export const badUtf8: readonly Buffer[] = ['c0af', 'eda080', 'ff', 'c3', 'f4908080', '80', 'fe', 'e28228'].map((hex) =>
  Buffer.from(hex, 'hex'),
);
