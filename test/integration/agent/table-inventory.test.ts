import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { AcceptanceFolder } from '../../../agent/integrity/acceptances.ts';
import { inventoryPath } from '../../../agent/sigils/inventory/inventory-file.ts';
import type { ScanResult } from '../../../agent/sigils/scan.ts';
import { StoreWatch } from '../../../agent/stores.ts';
import { Account } from '../../../agent/told/account.ts';
import { limits } from '../../../common/limits.ts';
import { agentCommand } from '../../agent/program.ts';
import { tempFolder } from '../../agent/watching.ts';
import { fakeJournal } from '../../fakes/journal.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { clock, nthRow, type SigilTable, secret, sigilTable, type TableShape, TableWatch } from './sigil-table.ts';

const temp = tempFolder();
let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});

const newFile = () => join(mkdtempSync(join(temp, 'table-')), 'inventory', 'rows.inventory');

async function made(rows: number, shape: TableShape = {}): Promise<{ table: SigilTable; watch: TableWatch }> {
  const table = await sigilTable(postgres, shape);
  await table.put(0, rows);
  const watch = new TableWatch(table.place, newFile());
  assert.deepEqual(shown(await watch.scan('full')), []);
  return { table, watch };
}

function shown({ findings }: Pick<ScanResult, 'findings'>) {
  return findings.map(({ check, key, expected, actual }) => ({ check, key, expected, actual }));
}

function keyOf(index: number): string {
  const { tenant, symbol, auth_hash } = nthRow(index);
  return JSON.stringify({ tenant, symbol, auth_hash });
}

const written = '2026-01-01T00:00:00.000Z';
const gone = (index: number) => ({ check: 'vanished', key: keyOf(index), expected: written, actual: null });

async function remove(table: SigilTable, index: number): Promise<void> {
  await table.sql('delete from "App".sigils where auth_hash = $1', [nthRow(index).auth_hash]);
}

/** Has the record of a row say that it was updated then, or nothing of it. */
async function date(table: SigilTable, index: number, updatedAt: string | undefined): Promise<void> {
  const { auth_hash, record } = nthRow(index);
  const dated = JSON.stringify({ ...JSON.parse(record), updatedAt });
  await table.sql('update "App".sigils set record = $2 where auth_hash = $1', [auth_hash, dated]);
}

describe('a row that is gone', () => {
  test('is a finding with its key and when it was updated last, stays one, and is cleared when it is back', async () => {
    const { table, watch } = await made(40);
    await remove(table, 7);
    assert.deepEqual(shown(await watch.scan('full')), [gone(7)]);
    assert.deepEqual((await watch.scan('incremental')).cleared, []);
    const again = await watch.scan('full');
    assert.deepEqual([again.findings, again.cleared], [[], []]);
    await table.put(7, 8);
    assert.equal((await watch.scan('incremental')).cleared.length, 1);
    assert.deepEqual([(await watch.scan('full')).findings, watch.open], [[], []]);
  });

  test('is cleared by a full scan, too, and told to a journal that knows nothing', async () => {
    const { table, watch } = await made(10);
    await remove(table, 3);
    await watch.scan('full');
    watch.open = [];
    assert.deepEqual(shown(await watch.scan('full')), [gone(3)]);
    await table.put(3, 4);
    await watch.scan('full');
    assert.deepEqual(watch.open, []);
  });

  test('stays a finding while nothing is compared', async () => {
    const { table, watch } = await made(10);
    await remove(table, 3);
    await watch.scan('full');
    const without = new TableWatch(table.place);
    without.open = watch.open;
    assert.deepEqual((await without.scan('full')).cleared, []);
  });

  test('is one of many: all of a table that was emptied, and what finds no room is counted', async () => {
    const { table, watch } = await made(limits.maxOpenFindingsPerStore + 60);
    await table.sql('truncate "App".sigils');
    const emptied = await watch.scan('full');
    assert.deepEqual([emptied.findings.length, emptied.moreFindings], [limits.maxOpenFindingsPerStore, 60]);
    assert.ok(emptied.findings.every(({ check }) => check === 'vanished'));
    assert.equal(emptied.inventory?.keys, limits.maxOpenFindingsPerStore + 60);
  });

  test('is found without tenants, and without updatedAt', async () => {
    const table = await sigilTable(postgres, { key: 'unique (auth_hash)' });
    await table.put(0, 10);
    const { tenant: _tenant, updatedAt: _updatedAt, ...columns } = table.place.columns;
    const watch = new TableWatch({ ...table.place, columns }, newFile());
    await watch.scan('full');
    await remove(table, 4);
    const key = JSON.stringify({ auth_hash: nthRow(4).auth_hash });
    assert.deepEqual(shown(await watch.scan('full')), [{ check: 'vanished', key, expected: written, actual: null }]);
  });

  test('is not one that was written again while the table was read, or went and came back', async () => {
    const { table, watch } = await made(40);
    await remove(table, 7);
    let written = false;
    const result = await watch.scan('full', undefined, async () => {
      if (written) return;
      written = true;
      await table.put(7, 8);
      await remove(table, 8);
      await table.put(8, 9);
    });
    assert.deepEqual([written, result.records, result.findings], [true, 39, []]);
    assert.deepEqual((await watch.scan('full')).findings, []);
  });

  test('is not missed where it stands under another key: each key is one sigil, whatever else they share', async () => {
    const { table, watch } = await made(10);
    const { record, auth_hash } = nthRow(2);
    const twin = JSON.stringify({ ...JSON.parse(record), symbol: 'TWIN' });
    await table.sql(
      `insert into "App".sigils select tenant, 'TWIN', auth_hash, $2, checksum, signature from "App".sigils where auth_hash = $1`,
      [auth_hash, twin],
    );
    assert.deepEqual((await watch.scan('full')).findings, []);
    await table.sql(`delete from "App".sigils where auth_hash = $1 and symbol <> 'TWIN'`, [auth_hash]);
    assert.deepEqual(shown(await watch.scan('full')), [gone(2)]);
  });
});

describe('an older record', () => {
  test('in the place of a newer one is found, and cleared when it is as late again', async () => {
    const { table, watch } = await made(10);
    await date(table, 4, '2025-12-31T23:00:00.000Z');
    const older = { check: 'rolled_back', key: keyOf(4), expected: written, actual: '2025-12-31T23:00:00.000Z' };
    assert.deepEqual(shown(await watch.scan('full')), [older]);
    assert.deepEqual((await watch.scan('incremental')).cleared, []);
    await date(table, 4, '2026-01-01T00:00:01.000Z');
    assert.equal((await watch.scan('incremental')).cleared.length, 1);
    assert.deepEqual([(await watch.scan('full')).findings, watch.open], [[], []]);
  });

  test('is found by the column where the record does not say when', async () => {
    const { table, watch } = await made(10);
    await date(table, 4, undefined);
    const setBack = (to: string) =>
      table.sql('update "App".sigils set updated_at = $2 where auth_hash = $1', [nthRow(4).auth_hash, to]);
    await setBack('2026-03-01T00:00:00Z');
    assert.deepEqual((await watch.scan('full')).findings, []);
    await setBack('2026-02-01T00:00:00Z');
    const [expected, actual] = ['2026-03-01T00:00:00.000Z', '2026-02-01T00:00:00.000Z'];
    assert.deepEqual(shown(await watch.scan('full')), [{ check: 'rolled_back', key: keyOf(4), expected, actual }]);
  });

  test('is none that was replaced while the table was read', async () => {
    const { table, watch } = await made(10);
    await date(table, 4, '2025-12-31T23:00:00.000Z');
    const { findings } = await watch.scan('full', undefined, () => date(table, 4, '2026-01-01T00:00:01.000Z'));
    assert.deepEqual(findings, []);
  });
});

describe('the key that an inventory is kept by', () => {
  test('may become another one: the inventory is made anew, and nothing has vanished', async () => {
    const { table, watch } = await made(10);
    await table.sql(
      'alter table "App".sigils drop constraint sigils_pkey; alter table "App".sigils add primary key (auth_hash)',
    );
    const { findings, inventory } = await watch.scan('full');
    assert.deepEqual([findings, inventory?.anew?.code, inventory?.keys], [[], 'state.conflict', 10]);
    await remove(table, 1);
    assert.deepEqual(
      shown(await watch.scan('full')).map(({ key }) => key),
      [JSON.stringify({ auth_hash: nthRow(1).auth_hash })],
    );
  });

  test('cannot have updatedAt in it: then there is none', async () => {
    const table = await sigilTable(postgres, { key: 'primary key (auth_hash, updated_at)' });
    await table.put(0, 5);
    const watch = new TableWatch(table.place, newFile());
    await watch.scan('full');
    await table.sql(`update "App".sigils set updated_at = updated_at + interval '1 minute'`);
    const { findings, inventory } = await watch.scan('full');
    assert.deepEqual([findings, inventory], [[], null]);
  });

  test('may be of a fixed length', { timeout: 60_000 }, async () => {
    const table = await sigilTable(postgres);
    await table.sql('alter table "App".sigils alter auth_hash type char(64), alter symbol type char(8)');
    await table.put(0, 200);
    const watch = new TableWatch(table.place, newFile());
    const stop = AbortSignal.timeout(30_000);
    const { records, findings } = await watch.scan('full', () => stop.throwIfAborted());
    assert.deepEqual([records, findings], [200, []]);
    await remove(table, 9);
    assert.deepEqual(shown(await watch.scan('full')), [gone(9)]);
    await table.put(9, 10);
    assert.equal((await watch.scan('incremental')).cleared.length, 1);
  });

  test('may be of a type whose values another type cannot have', async () => {
    const table = await sigilTable(postgres);
    await table.sql('alter table "App".sigils drop constraint sigils_pkey; alter table "App".sigils add n text');
    await table.put(0, 6);
    await table.sql(`update "App".sigils set n = 'n' || auth_hash, checksum = 'x'`);
    await table.sql('alter table "App".sigils add primary key (n)');
    const watch = new TableWatch(table.place, newFile());
    const before = await watch.scan('full');
    assert.ok(before.findings.length >= 6);
    await table.sql(`alter table "App".sigils alter n type int using length(n) + (hashtext(n) % 1000)`);
    await watch.scan('full');
    assert.ok(
      watch.open.every(({ key }) => /^\{"n":"-?\d+"\}$/.test(key ?? '')),
      JSON.stringify(watch.open),
    );
  });
});

describe('the watch of a table', () => {
  let stops: (() => Promise<void>)[] = [];
  afterEach(async () => {
    await Promise.all(stops.map((stop) => stop()));
    stops = [];
  });

  test('tells what vanished until somebody accepts it; a run by hand only compares', async () => {
    const table = await sigilTable(postgres);
    await table.put(0, 20);
    const dataDir = mkdtempSync(join(temp, 'data-'));
    const config = join(dataDir, 'agent.yaml');
    const stores = { rows: { postgres: table.place } };
    writeFileSync(config, JSON.stringify({ dataDir, sigils: { stores, secrets: [secret] } }));
    const byHand = () => agentCommand(['--config', config, 'integrity', 'run', '--node', 'lyra']);
    const journal = fakeJournal();
    const logged: string[] = [];
    const log = (event: string) => void logged.push(event);
    const store = new StoreWatch({
      ...{ name: 'rows', place: stores.rows, secrets: [secret], fullScanCpuShare: 1, clock },
      ...{ journal: new Account(journal), logger: { ...quietLogger, info: log, warn: log, error: log } },
      inventoryPath: inventoryPath(dataDir, 'rows'),
      acceptances: new AcceptanceFolder(dataDir),
    });
    const abort = new AbortController();
    const ended = store.run(abort.signal);
    stops.push(async () => {
      abort.abort();
      await ended;
    });
    const taken = () => logged.filter((event) => event === 'inventory.taken').length;
    await until('an inventory was taken', () => taken() === 1);
    await remove(table, 7);
    const compared = await byHand();
    assert.equal(compared.code, 1, compared.stderr);
    assert.match(compared.stdout, /vanished/);
    const check = await store.check();
    assert.deepEqual(shown(check), [gone(7)]);
    await until('the next was taken', () => taken() === 2);
    const wish = ['--store', 'rows', '--key', keyOf(7), '--reason', 'the customer left'];
    const told = await agentCommand(['--config', config, 'integrity', 'accept', ...wish]);
    assert.equal(told.code, 0, told.stderr);
    store.wake();
    await until('it was taken up', () => journal.saidOf('sigil.accepted').length === 1);
    assert.deepEqual((await store.check()).findings, []);
    await until('the inventory forgot it', () => taken() === 3);
    assert.deepEqual([(await byHand()).code, store.summary.openFindings], [0, 0]);
  });
});
