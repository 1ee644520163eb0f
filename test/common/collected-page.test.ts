import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { collectedPage } from '../../common/collected-page.ts';
import { type CollectedReport, collectedReport, collectedReportJsonSchema } from '../../common/collected-report.ts';
import { collectorKinds, nodeKinds } from '../../common/kinds.ts';
import type { LedgerCheck } from '../../common/ledger-check.ts';

const now = '2026-01-01T03:30:00.000Z';

const inOrder: LedgerCheck = {
  ...{ origin: 'example.org/ledger', status: 'ok', startedAt: now, durationMs: 12_345 },
  verified: {
    ...{ size: 1_234_567, root: `${'A'.repeat(43)}=`, authors: 5, batches: 678, tiles: 4_822, erased: 0 },
    ...{ checkpoint: 1_234_000, durationMs: 9_000 },
  },
  fault: null,
  projections: { size: 1_234_567, from: 0, durationMs: 3_000, tables: [] },
  error: null,
};

function reportOf(check: LedgerCheck): CollectedReport {
  return collectedReport.parse({
    ...{ version: 1, id: '20260101T033000000Z-0123abcd', author: 'collector', startedAt: now, finishedAt: now },
    ...{ status: check.status, composed: null, stores: [], ledger: check },
  });
}

function withRow(cell: string): LedgerCheck {
  const row = { problem: 'changed' as const, key: { node: cell }, index: 7 };
  const columns = [{ column: 'container', stored: cell, rebuilt: null }];
  const tables = [{ table: 'drifts', stored: 3, rebuilt: 3, differing: 2, rows: [{ ...row, columns }] }];
  return { ...inOrder, status: 'findings', projections: { size: 9, from: 0, durationMs: 1, tables } };
}

test('the published JSON Schema is that of the reports that are handed out', () => {
  const published = readFileSync(join(import.meta.dirname, '../../docs/collected-report.schema.json'), 'utf8');
  assert.deepEqual(JSON.parse(published), collectedReportJsonSchema());
});

test('a page about the ledger says what was verified, what is wrong and where, and what to do next', () => {
  const clean = collectedPage(reportOf(inOrder));
  for (const text of ['example.org/ledger', '1 234 567', '1 234 000', 'all in order'])
    assert.ok(clean.includes(text), text);
  const fault = { fault: 'body', index: 12, message: 'the body is not the one that was hashed' };
  const found = collectedPage(reportOf({ ...inOrder, status: 'findings', fault }));
  for (const text of ['entry 12', 'not the one that was hashed', 'docs/recovery.md'])
    assert.ok(found.includes(text), text);
  const differing = collectedPage(reportOf(withRow('lyra')));
  for (const text of ['drifts: changed', 'node = lyra', 'stored lyra, by the entries null', 'And 1 more rows'])
    assert.ok(differing.includes(text), text);
  const error = { code: 'database.unreachable', message: 'the database does not answer' };
  assert.ok(collectedPage(reportOf({ ...inOrder, status: 'unchecked', error })).includes(error.message));
});

test('text from a row, a message or a store stays text: no tag, attribute or character reference comes from it', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.constantFrom('<script>alert(1)</script>', '"><img src=x onerror=a>', "' onload='", '&lt;', '</style><b>'),
  );
  const pageWith = (text: string) => {
    const check = withRow(text);
    const fault = { fault: 'body', index: 1, message: text };
    const error = { code: 'internal.error', message: text };
    const store = { store: text, status: 'unchecked' as const, counts: null, findings: [], moreFindings: 3 };
    const report = reportOf({ ...check, origin: text, fault, error });
    return [collectedPage(report), collectedPage({ ...report, ledger: null, stores: [store] })].join('');
  };
  const skeleton = (page: string) => page.match(/<[^>]*>/g)?.join('');
  const harmless = pageWith('text');
  fc.assert(
    fc.property(hostile, (text) => {
      assert.equal(skeleton(pageWith(text)), skeleton(harmless));
    }),
  );
});

test('nobody but the collector says of the ledger that it was checked', () => {
  assert.deepEqual([nodeKinds.has('ledger.checked'), collectorKinds.has('ledger.checked')], [false, true]);
  assert.deepEqual([nodeKinds.has('integrity.report'), collectorKinds.has('integrity.report')], [true, false]);
});
