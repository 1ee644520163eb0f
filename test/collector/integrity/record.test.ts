import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Recorder } from '../../../collector/enforcement/ports.ts';
import { putOnRecord } from '../../../collector/integrity/record.ts';
import type { LedgerRun } from '../../../collector/integrity/report.ts';
import { AppError } from '../../../common/errors.ts';
import type { Statement } from '../../../common/kinds.ts';
import { type LedgerCheck, ledgerStatus } from '../../../common/ledger-check.ts';
import { FakeLedgerStore } from '../../fakes/ledger-store.ts';
import { startLedger } from '../../ledgers.ts';
import { quietLogger } from '../../quiet-logger.ts';

const startedMs = Date.parse('2026-01-01T03:30:00.000Z');

function runThat(error: LedgerCheck['error']): LedgerRun {
  const found = { fault: null, projections: null, error };
  const startedAt = '2026-01-01T03:30:00.000Z';
  const status = ledgerStatus(found);
  const check = { origin: 'example.org/ledger', startedAt, durationMs: 1, verified: null, ...found, status };
  return { id: '20260101T033000000Z-0123abcd', startedMs, finishedMs: startedMs + 1, check };
}

test('an alert that was raised just before a collector died ends with the next run that finds nothing', async () => {
  const ledger = await startLedger(new FakeLedgerStore());
  const said: Statement['kind'][] = [];
  let dies = true;
  const mortal: Recorder = {
    record: async (statement) => {
      const recorded = await ledger.record(statement);
      said.push(statement.kind);
      if (dies && statement.kind === 'alert.raised') throw new AppError('database.unreachable', 'died');
      return recorded;
    },
  };
  let alerted = false;
  const store = {
    archive: async () => {},
    tidy: async () => {},
    alerted: async () => alerted,
    setAlerted: async (is: boolean) => {
      alerted = is;
    },
  };
  const needs = { store, ledger: mortal, kept: { keepDays: 1, keepReports: 1 }, logger: quietLogger };
  const failed = runThat({ code: 'database.unreachable', message: 'no answer' });
  await assert.rejects(putOnRecord(failed, needs), { code: 'database.unreachable' });
  dies = false;
  await putOnRecord(runThat(null), needs);
  assert.deepEqual(said, ['ledger.checked', 'alert.raised', 'ledger.checked', 'alert.resolved']);
  assert.equal(alerted, false);
});
