import fc from 'fast-check';
import type { AlertItem } from '../../collector/alerts/alert.ts';
import { templateForms } from '../../collector/alerts/message-templates.ts';
import { readTemplate } from '../../collector/alerts/template.ts';
import { alertSeverities } from '../../common/kinds.ts';

/** What acts in some vendor's markup, in headers, on a line of its own, or as a placeholder. */
const signs = [
  ...['<!channel>', '<@U1>', '<https://x.example|x>', '&', '&amp;', '@everyone', '<@&2>', '*b*', '_i_', '`c`', '~s~'],
  ...[
    '[x](https://x.example)',
    '||s||',
    '# ',
    '> ',
    '- ',
    '-- ',
    '\\',
    '"',
    "'",
    ':x:',
    'https://x.example',
    'é',
    '🧨',
  ],
];
const inValues = [
  ...signs,
  ...[
    '{node}',
    '{summary}',
    '{?node:',
    '{{',
    '}',
    '\n',
    '\r\nBcc: x@y\r\n\r\n',
    '\n.\n',
    '\t',
    '\u0000',
    '\u001b[2J',
    '\u202e',
  ],
];

const of = (pieces: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...pieces);
const plain = fc.string({ unit: 'grapheme-ascii', maxLength: 12 });

/** Text as somebody else names things: short and hostile, or too long for everybody. */
export const foreignText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.array(fc.oneof(of(inValues), plain), { maxLength: 8 }).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.tuple(of(inValues), fc.integer({ min: 100, max: 3_000 })).map(([s, n]) => s.repeat(n)) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 600 }) },
);

const timeMs = fc.integer({ min: Date.parse('2026-01-01T00:00:00Z'), max: Date.parse('2026-03-01T00:00:00Z') });

export const alertItem: fc.Arbitrary<AlertItem> = fc
  .record({
    key: fc.oneof(
      foreignText,
      foreignText.map((text) => `disk.low/${text}`),
    ),
    change: fc.constantFrom('raised', 'repeated', 'resolved'),
    severity: fc.constantFrom(...alertSeverities),
    previousSeverity: fc.constant(null),
    summary: foreignText,
    node: fc.option(fc.constantFrom('node1', 'lyra')),
    raisedAtMs: timeMs,
    stoodMs: fc.nat(86_400_000),
    reason: fc.option(foreignText),
    index: fc.option(fc.nat()),
  })
  .map(({ stoodMs, ...item }) => ({
    ...item,
    resolvedAtMs: item.change === 'resolved' ? item.raisedAtMs + stoodMs : null,
  }));

/** A template that the settings take, with hostile signs in its text. */
export function templateText(name: keyof typeof templateForms): fc.Arbitrary<string> {
  const { names, lines } = templateForms[name];
  const text = fc.oneof(of(lines ? [...signs, '\n'] : signs), plain).map((part) => part.replace(/[{}]/g, ''));
  const value = fc.constantFrom(...names).map((known) => `{${known}}`);
  const part = fc.oneof(text, value);
  const group = fc
    .tuple(fc.constantFrom(...names), fc.array(part, { maxLength: 3 }))
    .map(([known, inside]) => `{?${known}:${inside.join('')}}`);
  return fc
    .array(fc.oneof(part, group), { minLength: 1, maxLength: 12 })
    .map((parts) => parts.join(''))
    .filter((whole) => readTemplate<string>(whole, templateForms[name]).problem === undefined);
}

export const templateTexts = fc.record(
  {
    titleTemplate: templateText('titleTemplate'),
    bodyTemplate: templateText('bodyTemplate'),
    severalTemplate: templateText('severalTemplate'),
  },
  { requiredKeys: [] },
);
