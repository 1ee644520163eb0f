import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { until } from '../until.ts';
import { sigilAt } from './sigils/inventory/inventories.ts';
import { withStore } from './sigils/stores.ts';
import { WatchedStore } from './watched-store.ts';

const { key, value } = sigilAt({ form: 'new', id: 'a' }, 1);
let watched: WatchedStore;

beforeEach(async () => {
  watched = new WatchedStore();
  await withStore(watched.path, (db) => db.put(key, value));
});
afterEach(() => watched.end());

const told = () =>
  watched.journal.saidOf('sigil.finding').map(({ body: { finding } }) => `${finding.check} ${finding.key}`);

describe('the watch of a store', () => {
  test('tells what vanished since the full check before, also over restarts, and clears it once it is back', async () => {
    const first = watched.watch();
    await watched.tookInventories(1);
    await first.stop();
    await withStore(watched.path, (db) => db.del(key));
    const second = watched.watch();
    const check = await second.store.check();
    assert.deepEqual(
      check.findings.map((finding) => [finding.check, finding.key]),
      [['vanished', key]],
    );
    await watched.tookInventories(2);
    await withStore(watched.path, (db) => db.put(key, value));
    second.store.wake();
    await until('it was cleared', () => watched.journal.saidOf('sigil.cleared').length === 1);
    assert.deepEqual(told(), [`vanished ${key}`]);
  });

  test('keeps the inventory before until all is told, and tells it again', async () => {
    const first = watched.watch();
    await watched.tookInventories(1);
    const before = readFileSync(watched.inventoryPath);
    await withStore(watched.path, (db) =>
      db.batch([
        { type: 'del', key },
        { type: 'put', ...sigilAt({ form: 'new', id: 'b' }, 1) },
      ]),
    );
    watched.journal.mood = 'write_failed';
    void first.store.check();
    await until('it could not be told', () => watched.has('sigil.unsaid'));
    await first.stop();
    assert.deepEqual([watched.taken, readFileSync(watched.inventoryPath)], [1, before]);
    watched.journal.mood = 'well';
    const second = watched.watch();
    await second.store.check();
    await watched.tookInventories(2);
    assert.deepEqual(told(), [`vanished ${key}`]);
  });

  test('says when an inventory is damaged, and makes it anew', async () => {
    const first = watched.watch();
    await watched.tookInventories(1);
    await first.stop();
    writeFileSync(watched.inventoryPath, 'torn');
    const second = watched.watch();
    const check = await second.store.check();
    assert.deepEqual([check.findings, check.error], [[], undefined]);
    await watched.tookInventories(2);
    assert.ok(watched.has('inventory.anew'));
  });
});
