import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatReport } from '../../../agent/integrity/text.ts';
import { finding, reportAt } from './reports.ts';

const at = '2026-01-01T02:00:00.000Z';

test('a report says on a terminal, too, that it does not list all that was found', () => {
  const report = reportAt(Date.parse(at), [finding('a', at)]);
  const textWith = (moreFindings: number) =>
    formatReport({ ...report, stores: report.stores.map((store) => ({ ...store, moreFindings })) });
  assert.match(textWith(94_271), /: 94272 findings\n {2}checksum .*\n {2}and 94271 more, which are not listed\n$/);
  assert.doesNotMatch(textWith(0), /more/);
});
