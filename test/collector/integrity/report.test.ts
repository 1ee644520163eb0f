import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alertOf, foundIn, type LedgerRun, reportOf, statementOf } from '../../../collector/integrity/report.ts';
import { formatCollected } from '../../../collector/integrity/text.ts';
import { collectedReport } from '../../../common/collected-report.ts';
import { statementSchema } from '../../../common/kinds.ts';
import { type LedgerCheck, ledgerStatus } from '../../../common/ledger-check.ts';
import { limits } from '../../../common/limits.ts';

const startedMs = Date.parse('2026-01-01T03:30:00.000Z');
const long = 'x'.repeat(limits.maxForeignTextChars);

function checkWith(parts: Partial<LedgerCheck>): LedgerCheck {
  const found = { fault: null, projections: null, error: null, ...parts };
  const startedAt = '2026-01-01T03:30:00.000Z';
  return {
    origin: 'example.org/ledger',
    startedAt,
    durationMs: 1,
    verified: null,
    ...found,
    status: ledgerStatus(found),
  };
}

const fault = { fault: 'body', index: 12, message: 'changed' };
const error = { code: 'database.unreachable', message: 'the database does not answer' };
const columns = [{ column: 'container', stored: long, rebuilt: 'ok\u001b[2J' }];
const row = { problem: 'changed' as const, key: { node: long }, index: 7, columns };
const tables = Array.from({ length: 10 }, (_, at) => {
  const rows = Array.from({ length: limits.maxDifferingRows }, () => row);
  return { table: `table${at}`, stored: 100, rebuilt: 100, differing: 100, rows };
});
const projections = { size: 100, from: 0, durationMs: 1, tables };

function runOf(check: LedgerCheck): LedgerRun {
  return { id: '20260101T033000000Z-0123abcd', startedMs, finishedMs: startedMs + 1, check };
}

test('what was found is critical, what could not be checked an error, and nothing in order is told', () => {
  assert.equal(alertOf('id', checkWith({})), undefined);
  assert.equal(alertOf('id', checkWith({ error }))?.severity, 'error');
  assert.equal(alertOf('id', checkWith({ fault }))?.severity, 'critical');
  assert.equal(alertOf('id', checkWith({ fault, error }))?.severity, 'critical');
  assert.equal(alertOf('id', checkWith({ projections }))?.severity, 'critical');
  assert.match(
    alertOf('id', checkWith({ fault, error }))?.summary ?? '',
    /entry 12.*does not answer.*integrity show id/,
  );
});

test('however much was found, the entry and the alert fit into the ledger, and the rows are in the report alone', () => {
  const message = 'y'.repeat(limits.maxOwnTextChars);
  const run = runOf(checkWith({ fault: { ...fault, message }, projections, error: { ...error, message } }));
  const made = reportOf(run);
  assert.deepEqual(collectedReport.parse(JSON.parse(made.document)), made.report);
  assert.equal(made.failed, 1_001);
  const statement = statementSchema.parse(statementOf(run, made));
  assert.ok(Buffer.byteLength(JSON.stringify(statement)) < limits.maxEntryBytes / 2);
  const alert = alertOf(run.id, run.check);
  statementSchema.parse({ kind: 'alert.raised', body: { key: 'ledger.integrity/ledger', node: null, ...alert } });
  assert.match(alert?.summary ?? '', /says more$/);
});

test('a clock that was set back meanwhile does not make a report contradict itself', () => {
  const { report } = reportOf({ ...runOf(checkWith({})), finishedMs: startedMs - 1_000 });
  assert.equal(report.finishedAt, report.startedAt);
});

test('on a terminal, a value of a row moves no cursor and begins no line', () => {
  const { report } = reportOf(runOf(checkWith({ projections })));
  const shown = formatCollected(report);
  assert.equal(shown.includes('\u001b'), false);
  assert.match(shown, /100 rows of table0 are not what the entries say/);
  assert.equal(foundIn(checkWith({ fault }))[0], 'entry 12 is not in order (body): changed');
});

test('on a terminal, a bad place in a file comes with the keys that lie in it', () => {
  const { report } = reportOf(runOf(checkWith({})));
  const finding = {
    ...{ id: 'ab'.repeat(16), check: 'block_checksum' as const, key: null, keyRange: { from: 'a!cc', to: 'a!f8' } },
    ...{ file: '000009.ldb', offset: 4096, expected: null, actual: null, detail: 'damaged' },
    firstSeen: report.startedAt,
  };
  const counts = { tables: 1, blocks: 2, bytes: 3, records: 4, sigils: 4 };
  const store = { ...{ store: 'main', status: 'findings' as const, counts }, findings: [finding], moreFindings: 0 };
  assert.match(
    formatCollected({ ...report, ledger: null, stores: [store] }),
    /000009\.ldb:4096 {2}damaged, .*\n {4}keys from a!cc to a!f8\n/,
  );
});
