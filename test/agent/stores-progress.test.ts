import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scanShare } from '../../agent/health/status.ts';
import { type ScanProgress, StoreWatch } from '../../agent/stores.ts';
import { Account } from '../../agent/told/account.ts';
import { fakeJournal } from '../fakes/journal.ts';
import { quietLogger } from '../quiet-logger.ts';
import { makeStore } from '../system/store.ts';
import { until } from '../until.ts';
import { settableClock, tempFolder } from './watching.ts';

const temp = tempFolder();
const secret = 'event-secret';

test('a scan under way shows how far it has come, and every record is counted once, while it is read', async () => {
  const place = join(mkdtempSync(join(temp, 'store-')), 'db');
  const records = 12_000;
  await makeStore(place, { records, tenant: 'lyra', secret });
  const seen: ScanProgress[] = [];
  let read = 0;
  let scans = 0;
  const store: StoreWatch = new StoreWatch({
    ...{ name: 'main', place, secrets: [secret], fullScanCpuShare: 1 },
    ...{ journal: new Account(fakeJournal()), clock: settableClock(), logger: quietLogger },
    onRead: (name, more) => {
      assert.equal(name, 'main');
      read += more;
      if (store.progress !== undefined) seen.push(store.progress);
    },
    onScan: () => {
      scans += 1;
    },
  });
  const abort = new AbortController();
  const ended = store.run(abort.signal);
  await until('it was scanned', () => scans > 0);
  assert.equal(read, records);
  const [before, ...later] = seen;
  assert.deepEqual([before?.mode, before?.records, before?.bytes], ['full', 0, 0], 'said as it stood before');
  assert.ok(later.length > 1, 'more than once');
  const shares = later.map((progress) => scanShare(progress) ?? Number.NaN);
  assert.ok(
    shares.every((share, i) => share > 0 && share <= 1 && share >= (shares[i - 1] ?? 0)),
    String(shares),
  );
  await until('it is over', () => store.progress === undefined);
  store.wake();
  await until('what is new was scanned', () => scans > 1);
  assert.equal(read, records, 'nothing is read twice');
  abort.abort();
  await ended;
});

test('where nobody knows how much there is to read, there is no share', () => {
  assert.deepEqual(
    [null, 0, 50, 200].map((totalBytes) => scanShare({ bytes: 100, totalBytes })),
    [undefined, undefined, 1, 0.5],
  );
});
