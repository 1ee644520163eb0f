import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { ScanResult } from '../../../../agent/sigils/scan.ts';
import { limits } from '../../../../common/limits.ts';
import { bundleTests } from '../../../bundle.ts';
import {
  checksOf,
  filesEnding,
  flip,
  intoTables,
  nthRecord,
  putRecords,
  temporaryFolder,
  withStore,
} from '../stores.ts';
import { Nights, sigilAt, timeAt } from './inventories.ts';

function made(t: TestContext): { readonly path: string; readonly nights: Nights } {
  const folder = temporaryFolder(t);
  const path = join(folder, 'store');
  return { path, nights: new Nights(path, folder) };
}

const put = (path: string, sigils: readonly { key: string; value: unknown }[]) =>
  withStore(path, (db) => db.batch(sigils.map((sigil) => ({ type: 'put' as const, ...sigil }))));
const del = (path: string, keys: readonly string[]) =>
  withStore(path, (db) => db.batch(keys.map((key) => ({ type: 'del' as const, key }))));
const nth = (id: string, minute: number) => sigilAt({ form: 'new', id }, minute);

function shown({ findings }: ScanResult) {
  return findings.map(({ check, key, expected, actual }) => ({ check, key, expected, actual }));
}

describe('a sigil that is gone', () => {
  it('is a finding with its key and when it was updated last, stays one, and is cleared when it is back', async (t) => {
    const { path, nights } = made(t);
    await put(path, [nth('a', 1), nth('b', 2)]);
    assert.deepEqual(shown(await nights.scan()), []);
    await del(path, [nth('a', 1).key]);
    const gone = { check: 'vanished', key: nth('a', 1).key, expected: timeAt(1), actual: null };
    assert.deepEqual(shown(await nights.scan()), [gone]);
    assert.deepEqual((await nights.minute()).cleared, []);
    const again = await nights.scan();
    assert.deepEqual([shown(again), again.cleared], [[], []]);
    await put(path, [nth('a', 1)]);
    assert.equal((await nights.minute()).cleared.length, 1);
    assert.deepEqual([shown(await nights.scan()), nights.open], [[], []]);
  });

  it('and comes back as it was earlier is found to have been rolled back', async (t) => {
    const { path, nights } = made(t);
    await put(path, [nth('a', 9)]);
    await nights.scan();
    await del(path, [nth('a', 9).key]);
    await nights.scan();
    await put(path, [nth('a', 3)]);
    const back = await nights.scan();
    const old = { check: 'rolled_back', key: nth('a', 3).key, expected: timeAt(9), actual: timeAt(3) };
    assert.deepEqual([shown(back), back.cleared.length], [[old], 1]);
    assert.deepEqual((await nights.minute()).cleared, []);
    await put(path, [nth('a', 9)]);
    assert.equal((await nights.minute()).cleared.length, 1);
  });

  it('is told to a journal that knows nothing, however long ago it went', async (t) => {
    const { path, nights } = made(t);
    await put(path, [nth('a', 1)]);
    await nights.scan();
    await del(path, [nth('a', 1).key]);
    await nights.scan();
    nights.open = [];
    assert.deepEqual(checksOf((await nights.scan()).findings), ['vanished']);
  });

  it('is one of many: what finds no room is counted', async (t) => {
    const { path, nights } = made(t);
    const count = limits.maxOpenFindingsPerStore + 60;
    await withStore(path, (db) => putRecords(db, 0, count));
    await nights.scan();
    rmSync(path, { recursive: true });
    await put(path, [nth('other', 1)]);
    const replaced = await nights.scan();
    assert.deepEqual([replaced.findings.length, replaced.moreFindings], [limits.maxOpenFindingsPerStore, 60]);
    assert.ok(replaced.findings.every(({ check }) => check === 'vanished'));
  });
});

describe('damage', () => {
  it('hides records, which are neither gone nor forgotten', async (t) => {
    const { path, nights } = made(t);
    await withStore(path, async (db) => {
      await putRecords(db, 0, 1_000);
      await intoTables(db);
    });
    await nights.scan();
    const table = join(path, filesEnding(path, '.ldb')[0] ?? '');
    const at = Math.floor(statSync(table).size / 2);
    flip(table, at);
    assert.deepEqual(checksOf((await nights.scan()).findings), ['block_checksum']);
    flip(table, at);
    const whole = await nights.scan();
    assert.deepEqual([whole.findings, nights.open, whole.inventory?.keys], [[], [], 1_000]);
    await del(path, [nthRecord(500).key]);
    assert.deepEqual(checksOf((await nights.scan()).findings), ['vanished']);
  });

  it('of a whole table, a log or the MANIFEST leaves nothing to be said of what lay there', async (t) => {
    for (const harm of [
      (path: string) => unlinkSync(join(path, filesEnding(path, '.ldb')[0] ?? '')),
      (path: string) => flip(join(path, filesEnding(path, '.log').at(-1) ?? ''), 40_000),
      (path: string) => flip(join(path, readdirSync(path).find((name) => name.startsWith('MANIFEST')) ?? ''), 10),
    ]) {
      const { path, nights } = made(t);
      await withStore(path, async (db) => {
        await putRecords(db, 0, 200);
        await intoTables(db);
        await putRecords(db, 200, 400);
      });
      await nights.scan();
      harm(path);
      const { findings, inventory } = await nights.scan();
      assert.ok(findings.length > 0 && findings.every(({ file }) => file !== null), checksOf(findings).join());
      assert.equal(inventory?.keys, 400);
    }
  });

  it('does not hide what is gone elsewhere', async (t) => {
    const { path, nights } = made(t);
    const keys = Array.from({ length: 1_000 }, (_, index) => nthRecord(index).key).sort();
    await withStore(path, async (db) => {
      await putRecords(db, 0, 1_000);
      await intoTables(db);
    });
    await nights.scan();
    await withStore(path, async (db) => {
      await db.del(keys[999] ?? '');
      await intoTables(db);
    });
    flip(join(path, filesEnding(path, '.ldb')[0] ?? ''), 2_000);
    const { findings } = await nights.scan();
    assert.deepEqual(checksOf(findings), ['block_checksum', 'vanished']);
    assert.equal(findings.find(({ check }) => check === 'vanished')?.key, keys[999]);
  });
});

describe('updatedAt', () => {
  it('of a record that fails its checks is no measure for others', async (t) => {
    const { path, nights } = made(t);
    const forged = { key: nth('a', 99).key, value: { ...nth('a', 99).value, checksum: '0'.repeat(64) } };
    await put(path, [nth('a', 1)]);
    await nights.scan();
    await put(path, [forged]);
    assert.deepEqual(checksOf((await nights.scan()).findings), ['checksum']);
    await put(path, [nth('a', 2)]);
    assert.deepEqual([shown(await nights.scan()), nights.open], [[], []]);
  });

  it('may be a number, and one that cannot be compared is not', async (t) => {
    const { path, nights } = made(t);
    const at = (updatedAt: unknown) => [{ key: nth('a', 1).key, value: { ...nth('a', 1).value, updatedAt } }];
    for (const [updatedAt, found] of [
      [1_767_225_600_000, []],
      [1_767_225_599_999, ['rolled_back']],
      ['some day', []],
      [1_767_225_600_001, []],
      ['2026-01-01T00:00:00.000Z', ['rolled_back']],
    ] as const) {
      await put(path, at(updatedAt));
      assert.deepEqual(checksOf((await nights.scan()).findings), [...found], String(updatedAt));
    }
  });
});

describe('a sigil under an old key and a new one', () => {
  it('is found twice until one of them is gone', async (t) => {
    const { path, nights } = made(t);
    const [old, now] = [sigilAt({ form: 'namespaced', id: 'a' }, 1), nth('a', 1)];
    await put(path, [old, sigilAt({ form: 'plain', id: 'b' }, 1), nth('c', 1)]);
    assert.deepEqual(shown(await nights.scan()), []);
    await put(path, [now]);
    const twice = { check: 'duplicate', key: old.key, expected: null, actual: now.key };
    assert.deepEqual(shown(await nights.scan()), [twice]);
    assert.deepEqual((await nights.scan()).cleared, []);
    await del(path, [old.key]);
    const migrated = await nights.scan();
    assert.deepEqual([migrated.findings, migrated.cleared.length], [[], 1], 'what was migrated has not vanished');
  });
});

describe('the file of an inventory', () => {
  it('that is torn, changed, foreign or of another store is no measure: it is made anew, and that is said', async (t) => {
    for (const harm of [
      (file: string) => truncateSync(file, statSync(file).size - 1),
      (file: string) => truncateSync(file, 0),
      (file: string) => flip(file, Math.floor(statSync(file).size / 2)),
      (file: string) => writeFileSync(file, 'something else'),
      (file: string) =>
        writeFileSync(file, readFileSync(file).toString('latin1').replace('"main"', '"mein"'), 'latin1'),
      (file: string) => {
        unlinkSync(file);
        mkdirSync(file);
      },
    ]) {
      const { path, nights } = made(t);
      await put(path, [nth('a', 1), nth('b', 1)]);
      await nights.scan();
      await del(path, [nth('a', 1).key]);
      harm(nights.inventory);
      const byHand = await nights.scan({ keeps: false, told: false });
      assert.deepEqual([byHand.findings, byHand.inventory?.failed?.code], [[], 'state.conflict']);
      const result = await nights.scan({ told: false });
      assert.equal((result.inventory?.anew ?? result.inventory?.failed)?.code, 'state.conflict');
      assert.deepEqual(result.findings, []);
    }
  });

  it('stays as it is until its findings are told, and when the disk refuses a new one', async (t) => {
    const { path, nights } = made(t);
    await put(path, [nth('a', 1)]);
    await nights.scan();
    const kept = readFileSync(nights.inventory);
    await del(path, [nth('a', 1).key]);
    assert.equal((await nights.scan({ told: false })).findings.length, 1);
    mkdirSync(`${nights.inventory}.new`);
    const refused = await nights.scan({ told: false });
    assert.deepEqual([refused.inventory?.failed?.code, refused.findings, refused.sigils], ['state.conflict', [], 1]);
    assert.deepEqual(readFileSync(nights.inventory), kept);
  });

  it('is not made where it is only to be read, and temporary files do not stay', async (t) => {
    const { path, nights } = made(t);
    await put(path, [nth('a', 1)]);
    assert.equal((await nights.scan({ keeps: false })).inventory?.failed, null);
    assert.equal(existsSync(dirname(nights.inventory)), false);
    await nights.scan();
    const left = join(dirname(nights.inventory), '00000000-0000-0000-0000-000000000000.spill');
    writeFileSync(left, '');
    writeFileSync(`${nights.inventory}.new`, 'of a scan that was killed');
    await nights.scan();
    assert.deepEqual(readdirSync(dirname(nights.inventory)), ['main.inventory']);
    assert.equal(statSync(nights.inventory).mode & 0o777, 0o600);
  });
});

describe('several threads', () => {
  let threadFile: URL;
  let remove: () => void;
  before(async () => {
    const built = await bundleTests(resolve(import.meta.dirname, '../../../..'), ['agent/sigils/scan-thread.ts']);
    threadFile = pathToFileURL(built.files[0] ?? assert.fail());
    remove = built.remove;
  });
  after(() => remove());

  it('take the same inventory as one, and miss what one would miss', async (t) => {
    const { path, nights } = made(t);
    const shape = { compression: false, maxFileSize: 1024 * 1024 };
    await withStore(
      path,
      async (db) => {
        await putRecords(db, 0, 8_000);
        await intoTables(db);
        await putRecords(db, 8_000, 8_010);
        await db.batch([nth('a', 5), nth('b', 5)].map((sigil) => ({ type: 'put' as const, ...sigil })));
      },
      shape,
    );
    await nights.scan();
    const one = readFileSync(nights.inventory);
    rmSync(nights.inventory);
    assert.equal((await nights.scan({ threads: 2, threadFile })).inventory?.keys, 8_012);
    assert.ok(one.equals(readFileSync(nights.inventory)));
    await withStore(
      path,
      async (db) => {
        await db.del(nthRecord(77).key);
        await db.put(nth('a', 4).key, nth('a', 4).value);
        await intoTables(db);
      },
      shape,
    );
    const { findings } = await nights.scan({ threads: 2, threadFile });
    assert.deepEqual(checksOf(findings), ['rolled_back', 'vanished']);
    assert.deepEqual((await nights.scan()).findings, []);
  });
});
