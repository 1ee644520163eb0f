import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Level } from 'level';
import { SnapshotKeeper } from '../../agent/sigils/kept/keeper.ts';
import { Shelf } from '../../agent/sigils/kept/shelf.ts';
import type { ScanResult } from '../../agent/sigils/scan.ts';
import { StoreWatch } from '../../agent/stores.ts';
import { Account } from '../../agent/told/account.ts';
import { fakeJournal } from '../fakes/journal.ts';
import { quietLogger } from '../quiet-logger.ts';
import { until } from '../until.ts';
import { week } from './sigils/kept/keeping.ts';
import { clock, intoTables, nthRecord, putRecords, type Store, secret } from './sigils/stores.ts';
import { tempFolder } from './watching.ts';

test('the watch of a clean store keeps a snapshot of it, and the minute after reads nothing twice', async () => {
  const dataDir = mkdtempSync(join(tempFolder(), 'data-'));
  const path = join(dataDir, 'db');
  const db: Store = new Level(path, { valueEncoding: 'json' });
  await putRecords(db, 0, 600);
  // Open, and with nothing left to compact: whatever tables there are stay.
  await intoTables(db);
  const options = { dataDir, clock, logger: quietLogger, secrets: [secret] };
  const scans: ScanResult[] = [];
  const store = new StoreWatch({
    ...options,
    ...{ name: 'main', place: path, fullScanCpuShare: 1 },
    journal: new Account(fakeJournal()),
    keeper: new SnapshotKeeper({ ...options, store: 'main', path, settings: week }),
    onScan: (result) => void scans.push(result),
  });
  const abort = new AbortController();
  const ended = store.run(abort.signal);
  await until('it was scanned', () => scans.length === 1);
  assert.equal((await new Shelf(dataDir, 'main').list()).length, 1);
  await db.put(nthRecord(3).key, { spoilt: true });
  store.wake();
  await until('it was scanned again', () => scans.length === 2);
  assert.ok((scans[0]?.tables ?? 0) > 0);
  assert.deepEqual([scans[1]?.mode, scans[1]?.tables, scans[1]?.findings.length], ['incremental', 0, 1]);
  const check = await store.check();
  abort.abort();
  await ended;
  await db.close();
  assert.ok(check.findings.length > 0);
  assert.equal((await new Shelf(dataDir, 'main').list()).length, 1);
});
