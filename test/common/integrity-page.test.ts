import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { integrityPage } from '../../common/integrity-page.ts';
import { integrityReport, integrityReportJsonSchema } from '../../common/integrity-report.ts';
import { restoreCommand } from '../../common/restore-command.ts';
import { shellWord } from '../../common/shell-word.ts';
import { sigilChecks } from '../../common/sigil.ts';
import { finding, reportAt } from '../agent/integrity/reports.ts';

const now = '2026-01-01T02:00:00.000Z';

test('the published JSON Schema is that of the reports that are written', () => {
  const published = readFileSync(join(import.meta.dirname, '../../docs/integrity-report.schema.json'), 'utf8');
  assert.deepEqual(JSON.parse(published), integrityReportJsonSchema());
});

test('a page says of every finding what, where, expected and actual, and since when', () => {
  const record = finding('a', '2025-12-24T02:00:00.000Z');
  const block = finding('b', now, { check: 'block_checksum', key: null, file: '000005.ldb', offset: 4711 });
  const range = { ...block, keyRange: { from: 'lyra!from', to: 'lyra!to' } };
  const report = integrityReport.parse(reportAt(Date.parse(now), [record, range]));
  const page = integrityPage(report);
  for (const text of ['lyra!sigil!a', 'aa', 'bb', 'SHA-256 of data', '2025-12-24 02:00:00 UTC', report.id, '12 345']) {
    assert.ok(page.includes(text), text);
  }
  for (const text of ['000005.ldb, byte 4711', 'lyra!from', 'lyra!to', 'by this run'])
    assert.ok(page.includes(text), text);
});

test('a record with a good copy comes with the command that restores it, and reports of before have neither', () => {
  const at = '2025-12-31T02:00:00.000Z';
  const lastGood = { snapshot: '20251231T020000000Z', at };
  const record = finding('a', now, { key: "lyra!sigil!it's", lastGood });
  const report = integrityReport.parse(
    reportAt(Date.parse(now), [record, finding('b', now, { lastGood: null }), finding('c', now)]),
  );
  const page = integrityPage(report);
  const command =
    "sigilwatch-agent integrity restore --store=main --key='lyra!sigil!it'\\''s' --from=20251231T020000000Z --to=restored-aaaaaaaa.json";
  assert.equal(restoreCommand('main', record), command);
  assert.ok(page.includes(command.replaceAll("'", '&#39;')));
  assert.ok(page.includes('2025-12-31 02:00:00 UTC, snapshot 20251231T020000000Z'));
  assert.equal(page.split('<dt>restore it</dt>').length, 2);
});

test('a page says of a clean store, too, that its check went on with one that was cut short', () => {
  const report = reportAt(Date.parse(now));
  const resumed = { startedAt: '2025-12-31T23:00:00.000Z', records: 4_321 };
  const stores = report.stores.map((store) => ({ ...store, resumed }));
  const page = integrityPage(integrityReport.parse({ ...report, stores }));
  assert.match(page, /begun 2025-12-31 23:00:00 UTC and cut short: 4 321 of the records/);
  assert.doesNotMatch(integrityPage(integrityReport.parse(report)), /cut short/);
});

test('a shell takes whatever a key is as one word', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
      const word = text.toWellFormed().replaceAll('\u0000', '');
      assert.equal(execFileSync('sh', ['-c', `printf %s ${shellWord(word)}`], { encoding: 'utf8' }), word);
    }),
    { numRuns: 30 },
  );
});

test('every check has words for a person', () => {
  for (const check of sigilChecks) {
    const page = integrityPage(reportAt(Date.parse(now), [finding('a', now, { check })]));
    assert.match(page, /class="why">[A-Z]/);
  }
});

test('text from a store stays text: no tag, attribute or character reference comes from it', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.constantFrom(
      '<script>alert(1)</script>',
      '"><img src=x onerror=a>',
      "' onload='",
      '&lt;',
      '</style><b>',
      '\u202eevil',
    ),
  );
  const skeleton = (page: string) => page.match(/<[^>]*>/g)?.join('');
  const pageWith = (text: string) => {
    const over = {
      key: text,
      file: text,
      expected: text,
      actual: text,
      detail: text,
      keyRange: { from: text, to: text },
    };
    const report = reportAt(Date.parse(now), [finding('a', now, over)]);
    const stores = report.stores.map((store) => ({ ...store, store: text, error: { code: text, message: text } }));
    return integrityPage({ ...report, id: 'same', stores });
  };
  const plain = skeleton(pageWith('plain'));
  fc.assert(
    fc.property(hostile, (text) => {
      const page = pageWith(text);
      assert.equal(skeleton(page), plain);
      assert.doesNotMatch(page, /\u202e/);
    }),
  );
});

test('spaces in a key stay as many as they are, also in the command that is copied', () => {
  const page = integrityPage(reportAt(Date.parse(now), [finding('a', now, { key: 'a  b' })]));
  assert.match(page, /<code>a {2}b<\/code>/);
  // A browser makes one of several, unless it is told otherwise.
  assert.match(page, /\ncode \{[^}]*white-space: pre-wrap;/);
});

test('a page loads nothing and runs nothing', () => {
  const page = integrityPage(reportAt(Date.parse(now), [finding('a', now)]));
  assert.doesNotMatch(page, /<script|<link|<img|<iframe|src=|href=|url\(|@import|\son\w+=/i);
  assert.match(page, /Content-Security-Policy" content="default-src 'none'; style-src 'sha256-[^']+'; /);
});
