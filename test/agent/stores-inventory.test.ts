import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Account } from '../../agent/account.ts';
import { inventoryPath } from '../../agent/sigils/inventory/inventory-file.ts';
import { StoreWatch } from '../../agent/stores.ts';
import type { Logger } from '../../common/log.ts';
import { type FakeJournal, fakeJournal } from '../fakes/journal.ts';
import { quietLogger } from '../quiet-logger.ts';
import { until } from '../until.ts';
import { sigilAt } from './sigils/inventory/inventories.ts';
import { clock, secret, withStore } from './sigils/stores.ts';
import { tempFolder } from './watching.ts';

const temp = tempFolder();
const { key, value } = sigilAt({ form: 'new', id: 'a' }, 1);
let journal: FakeJournal;
let dataDir: string;
let path: string;
let logged: string[];
let stops: (() => Promise<void>)[] = [];

beforeEach(async () => {
  journal = fakeJournal();
  dataDir = mkdtempSync(join(temp, 'data-'));
  path = join(dataDir, 'db');
  logged = [];
  await withStore(path, (db) => db.put(key, value));
});
afterEach(async () => {
  await Promise.all(stops.map((stop) => stop()));
  stops = [];
});

function watch() {
  const log = (event: string) => void logged.push(event);
  const logger: Logger = { ...quietLogger, info: log, warn: log, error: log };
  const store = new StoreWatch({
    ...{ name: 'main', place: path, secrets: [secret], fullScanCpuShare: 1, clock, logger },
    journal: new Account(journal),
    inventoryPath: inventoryPath(dataDir, 'main'),
  });
  const abort = new AbortController();
  const ended = store.run(abort.signal);
  const stop = async () => {
    abort.abort();
    await ended;
  };
  stops.push(stop);
  return { store, stop };
}

const told = () => journal.saidOf('sigil.finding').map(({ body: { finding } }) => `${finding.check} ${finding.key}`);
const taken = () => logged.filter((event) => event === 'inventory.taken').length;

describe('the watch of a store', () => {
  test('tells what vanished since the full check before, also over restarts, and clears it once it is back', async () => {
    const first = watch();
    await until('an inventory was taken', () => taken() === 1);
    await first.stop();
    await withStore(path, (db) => db.del(key));
    const second = watch();
    const check = await second.store.check();
    assert.deepEqual(
      check.findings.map((finding) => [finding.check, finding.key]),
      [['vanished', key]],
    );
    await until('the next was taken', () => taken() === 2);
    await withStore(path, (db) => db.put(key, value));
    second.store.wake();
    await until('it was cleared', () => journal.saidOf('sigil.cleared').length === 1);
    assert.deepEqual(told(), [`vanished ${key}`]);
  });

  test('keeps the inventory before until all is told, and tells it again', async () => {
    const first = watch();
    await until('an inventory was taken', () => taken() === 1);
    const before = readFileSync(inventoryPath(dataDir, 'main'));
    await withStore(path, (db) =>
      db.batch([
        { type: 'del', key },
        { type: 'put', ...sigilAt({ form: 'new', id: 'b' }, 1) },
      ]),
    );
    journal.mood = 'write_failed';
    void first.store.check();
    await until('it could not be told', () => logged.includes('sigil.unsaid'));
    await first.stop();
    assert.deepEqual([taken(), readFileSync(inventoryPath(dataDir, 'main'))], [1, before]);
    journal.mood = 'well';
    const second = watch();
    await second.store.check();
    await until('the next was taken', () => taken() === 2);
    assert.deepEqual(told(), [`vanished ${key}`]);
  });

  test('says when an inventory is damaged, and makes it anew', async () => {
    const first = watch();
    await until('an inventory was taken', () => taken() === 1);
    await first.stop();
    writeFileSync(inventoryPath(dataDir, 'main'), 'torn');
    const second = watch();
    const check = await second.store.check();
    assert.deepEqual([check.findings, check.error], [[], undefined]);
    await until('the next was taken', () => taken() === 2);
    assert.ok(logged.includes('inventory.anew'));
  });
});
