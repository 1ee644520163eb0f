import assert from 'node:assert/strict';
import { test } from 'node:test';
import { integrityReportList } from '../../../collector/api/integrity-contract.ts';
import { summaryOf } from '../../../collector/integrity/reading.ts';
import { genesis, sealEntry } from '../../../common/entry.ts';
import { generateKeyPair } from '../../../common/keys.ts';

test('a report whose counts add up to more than a number holds is still told as a list promises', () => {
  const store = { status: 'findings', counts: null, findings: Number.MAX_SAFE_INTEGER } as const;
  const body = {
    ...({ report: '20260101T020000000Z-00000000', status: 'findings', sha256: null } as const),
    ...{ startedAt: '2026-01-01T02:00:00.000Z', finishedAt: '2026-01-01T02:01:00.000Z' },
    stores: ['one', 'two'].map((name) => ({ store: name, ...store })),
  };
  const by = { author: 'lyra', head: genesis, now: Date.now(), privateKey: generateKeyPair().privateKey };
  const { bytes } = sealEntry({ kind: 'integrity.report', body }, by);
  const { startedAt, finishedAt, ...told } = summaryOf({ index: 1, author: 'lyra', kind: 'integrity.report', bytes });
  const items = [{ ...told, started_at: startedAt, finished_at: finishedAt }];
  integrityReportList.answers[200].parse({ items, next_cursor: null });
  assert.equal(told.findings, Number.MAX_SAFE_INTEGER);
});
