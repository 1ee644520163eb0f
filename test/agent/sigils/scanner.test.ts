import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { limits } from '../../../common/limits.ts';
import { sigilFinding } from '../../../common/sigil.ts';
import {
  checksOf,
  filesEnding,
  flip,
  intoTables,
  nthRecord,
  putRecords,
  temporaryFolder,
  Watch,
  withStore,
} from './stores.ts';

describe('an intact store', () => {
  for (const compression of [true, false]) {
    it(`has no findings, and every record is counted once (compression ${compression})`, async (t) => {
      const path = temporaryFolder(t);
      await withStore(
        path,
        async (db) => {
          await putRecords(db, 0, 3_000);
          await intoTables(db);
          await putRecords(db, 3_000, 3_500);
          await db.put('lyra!health!probe', { any: 'thing' });
        },
        { compression },
      );
      const result = await new Watch(path).scan('full');
      let stored = 0;
      await withStore(path, async (db) => {
        for await (const _ of db.keys()) stored++;
      });
      assert.deepEqual(result.findings, []);
      assert.equal(result.records, stored);
      assert.equal(result.sigils, stored - 1);
      assert.ok(result.tables >= 1 && result.blocks > 10 && result.settled);
    });
  }

  it('may hold records far larger than a block, and be empty', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, async () => {});
    assert.equal((await new Watch(path).scan('full')).records, 0);
    await withStore(path, async (db) => {
      const { key, value } = nthRecord(1);
      await db.put(key, { ...value, extra: 'x'.repeat(3_000_000) });
      await intoTables(db);
      await db.put(nthRecord(2).key, { ...nthRecord(2).value, extra: 'y'.repeat(500_000) });
    });
    const result = await new Watch(path).scan('full');
    assert.deepEqual([result.findings, result.records], [[], 2]);
  });

  it('is neither written to nor locked, and can be scanned while open', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, async (db) => {
      await putRecords(db, 0, 500);
      const before = readdirSync(path).map((name) => [name, statSync(join(path, name)).mtimeMs]);
      const result = await new Watch(path).scan('full');
      assert.deepEqual([result.findings, result.records], [[], 500]);
      assert.deepEqual(
        readdirSync(path).map((name) => [name, statSync(join(path, name)).mtimeMs]),
        before,
      );
    });
  });
});

describe('a bad record', () => {
  it('is found with its key, in the log and in a table, and is cleared once it is mended', async (t) => {
    const path = temporaryFolder(t);
    const watch = new Watch(path);
    const inTable = nthRecord(5);
    const inLog = nthRecord(7);
    await withStore(path, async (db) => {
      await putRecords(db, 0, 10);
      await db.put(inTable.key, { ...inTable.value, checksum: '0'.repeat(64) });
      await intoTables(db);
      await db.put(inLog.key, { ...inLog.value, signature: 'f'.repeat(64) });
    });
    const found = await watch.scan('full');
    assert.deepEqual(checksOf(found.findings), ['checksum', 'signature']);
    for (const finding of found.findings) {
      sigilFinding.parse(finding);
      assert.equal(finding.key, finding.check === 'checksum' ? inTable.key : inLog.key);
    }
    assert.deepEqual((await watch.scan('full')).findings, [], 'the same is not new a second time');
    await withStore(path, async (db) => {
      await db.put(inTable.key, inTable.value);
      await db.del(inLog.key);
    });
    const mended = await watch.scan('incremental');
    assert.deepEqual([mended.findings, mended.cleared.length, watch.open], [[], 2, []]);
  });

  it('is history once it was overwritten or deleted, wherever its versions lie', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, async (db) => {
      await putRecords(db, 0, 300);
      for (const index of [1, 2, 3, 4])
        await db.put(nthRecord(index).key, { ...nthRecord(index).value, symbol: 'else' });
      await db.put(nthRecord(3).key, nthRecord(3).value);
      await intoTables(db);
      await db.put(nthRecord(1).key, nthRecord(1).value);
      await db.del(nthRecord(2).key);
      await db.put(nthRecord(9).key, { bad: true });
      await db.put(nthRecord(9).key, nthRecord(9).value);
    });
    const watch = new Watch(path);
    const result = await watch.scan('full');
    assert.deepEqual(
      result.findings.map((finding) => finding.key),
      [nthRecord(4).key],
    );
  });

  it('beyond the bound is counted exactly', async (t) => {
    const path = temporaryFolder(t);
    const total = limits.maxOpenFindingsPerStore + 137;
    await withStore(path, async (db) => {
      await putRecords(db, 0, total);
      await intoTables(db);
      await putRecords(db, 0, 20);
    });
    const watch = new Watch(path, ['another secret']);
    const result = await watch.scan('full');
    assert.deepEqual([result.findings.length, result.moreFindings], [limits.maxOpenFindingsPerStore, 137]);
    const again = await watch.scan('full');
    assert.deepEqual([again.findings.length, again.moreFindings, again.cleared.length], [0, 137, 0]);
  });

  it('with a key too long to show stays open until everything was read without it', async (t) => {
    const path = temporaryFolder(t);
    const key = `sigil:${'k'.repeat(600)}`;
    const watch = new Watch(path);
    await withStore(path, (db) => db.put(key, {}));
    assert.equal((await watch.scan('incremental')).findings.length, 1);
    await withStore(path, (db) => db.del(key));
    assert.equal((await watch.scan('incremental')).cleared.length, 0);
    assert.equal((await watch.scan('full')).cleared.length, 1);
  });
});

describe('a damaged table', () => {
  it('is found and located, the rest is still checked, and it is cleared when the table is whole again', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, async (db) => {
      await putRecords(db, 0, 1_000);
      await intoTables(db);
    });
    const watch = new Watch(path);
    const whole = await watch.scan('full');
    const [table = ''] = filesEnding(path, '.ldb');
    const at = Math.floor(statSync(join(path, table)).size / 2);
    flip(join(path, table), at);
    const result = await watch.scan('incremental');
    const [finding] = result.findings;
    assert.deepEqual(checksOf(result.findings), ['block_checksum']);
    assert.equal(finding?.file, table);
    assert.ok(finding.offset !== null && finding.offset <= at && at < finding.offset + 6_000);
    assert.ok(finding.keyRange !== null && finding.keyRange.from < finding.keyRange.to);
    assert.ok(result.records > 900 && result.records < whole.records);
    const later = await watch.scan('incremental');
    assert.deepEqual([later.tables, later.findings, later.cleared], [0, [], []]);
    flip(join(path, table), at);
    assert.deepEqual((await watch.scan('incremental')).cleared, [finding.id]);
  });

  it('is looked at again although its time was set back', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, async (db) => {
      await putRecords(db, 0, 200);
      await intoTables(db);
    });
    const watch = new Watch(path);
    await watch.scan('full');
    const file = join(path, filesEnding(path, '.ldb')[0] ?? '');
    const { atime, mtime } = statSync(file);
    flip(file, 1_000);
    utimesSync(file, atime, mtime);
    assert.deepEqual(checksOf((await watch.scan('incremental')).findings), ['block_checksum']);
  });

  it('that is cut short, emptied, grown or gone is one finding with the key range it should have', async (t) => {
    for (const [change, check] of [
      [(file: string) => truncateSync(file, 5_000), 'table_format'],
      [(file: string) => truncateSync(file, 0), 'table_format'],
      [(file: string) => appendFileSync(file, 'tail'), 'table_format'],
      [(file: string) => unlinkSync(file), 'file_missing'],
    ] as const) {
      const path = temporaryFolder(t);
      await withStore(path, async (db) => {
        await putRecords(db, 0, 200);
        await intoTables(db);
        await putRecords(db, 200, 210);
      });
      change(join(path, filesEnding(path, '.ldb')[0] ?? ''));
      const result = await new Watch(path).scan('full');
      assert.ok(result.findings.length > 0 && result.findings.every((finding) => finding.check === check));
      assert.ok(result.findings.every((finding) => finding.keyRange?.from === firstKey(200)));
      assert.ok(result.records >= 10, 'the log is still read');
    }
  });
});

describe('a damaged log or MANIFEST', () => {
  it('a flipped byte in the middle of the log is located, and reading goes on at the next block', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, (db) => putRecords(db, 0, 2_000));
    const log = filesEnding(path, '.log').at(-1) ?? '';
    flip(join(path, log), 100_000);
    const result = await new Watch(path).scan('full');
    assert.deepEqual(
      result.findings.map(({ check, file }) => [check, file]),
      [['log_checksum', log]],
    );
    assert.ok(result.records > 1_700 && result.records < 2_000);
  });

  it('a log that ends inside a record is what a killed writer leaves, and no finding', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, (db) => putRecords(db, 0, 300));
    const file = join(path, filesEnding(path, '.log').at(-1) ?? '');
    const { size } = statSync(file);
    for (const cut of [1, 6, 7, 8, 5_000]) {
      truncateSync(file, size - cut);
      assert.deepEqual((await new Watch(path).scan('full')).findings, [], `${cut} bytes cut`);
    }
  });

  it('a length that claims more than the file has is told from a torn end by the records behind it', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, async (db) => {
      for (let index = 0; index < 20; index++) await db.put(nthRecord(index).key, nthRecord(index).value);
    });
    const log = join(path, filesEnding(path, '.log').at(-1) ?? '');
    flip(log, 5, 0x7f);
    const result = await new Watch(path).scan('full');
    assert.deepEqual([checksOf(result.findings), result.findings[0]?.offset, result.records], [['log_format'], 0, 19]);
  });

  it('with a damaged MANIFEST every table in the folder is checked instead', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, async (db) => {
      await putRecords(db, 0, 500);
      await intoTables(db);
    });
    const manifest = readdirSync(path).find((name) => name.startsWith('MANIFEST')) ?? '';
    flip(join(path, manifest), 10);
    const result = await new Watch(path).scan('full');
    assert.deepEqual(
      result.findings.map(({ check, file }) => [check, file]),
      [['manifest', manifest]],
    );
    assert.equal(result.records, 500);
  });
});

describe('an incremental scan', () => {
  it('checks only tables and log bytes that are new', async (t) => {
    const path = temporaryFolder(t);
    const watch = new Watch(path);
    await withStore(path, async (db) => {
      await putRecords(db, 0, 800);
      await intoTables(db);
      await putRecords(db, 800, 900);
      assert.equal((await watch.scan('full')).records, 900);
      const idle = await watch.scan('incremental');
      assert.deepEqual([idle.tables, idle.blocks, idle.bytes, idle.records], [0, 0, 0, 0]);
      await putRecords(db, 900, 950);
      const more = await watch.scan('incremental');
      assert.deepEqual([more.tables, more.records], [0, 50]);
      assert.equal((await watch.scan('full')).records, 950);
    });
    assert.equal((await watch.scan('incremental')).records, 0);
  });

  it('starts afresh from a state that is none', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, (db) => putRecords(db, 0, 50));
    const watch = new Watch(path);
    assert.equal((await watch.scan('incremental')).records, 50);
    watch.state = { version: 1, tables: [], logs: [[filesEnding(path, '.log')[0] ?? '', 'another file', 10]] };
    assert.equal((await watch.scan('incremental')).records, 50);
  });
});

describe('what cannot be scanned', () => {
  it('is a clear error', async (t) => {
    const path = temporaryFolder(t);
    const scanOf = (name: string) => new Watch(join(path, name)).scan('full');
    await assert.rejects(scanOf('nowhere'), { code: 'store.missing' });
    mkdirSync(join(path, 'plain'));
    writeFileSync(join(path, 'plain', 'CURRENT'), 'something else');
    await assert.rejects(scanOf('plain'), { code: 'store.not_a_store' });
    await assert.rejects(scanOf('plain/CURRENT'), { code: 'store.not_a_store' });
    mkdirSync(join(path, 'empty'));
    await assert.rejects(scanOf('empty'), { code: 'store.not_a_store' });
    await withStore(join(path, 'store'), (db) => putRecords(db, 0, 5));
    writeFileSync(join(path, 'store', 'CURRENT'), 'MANIFEST-999999\n');
    await assert.rejects(scanOf('store'), { code: 'store.corrupt' });
    unlinkSync(join(path, 'store', 'CURRENT'));
    await assert.rejects(scanOf('store'), { code: 'store.corrupt' });
  });

  it('stops when told to, and refuses a second scan meanwhile', async (t) => {
    const path = temporaryFolder(t);
    await withStore(path, (db) => putRecords(db, 0, 2_000));
    const { scanner } = new Watch(path);
    const stop = new AbortController();
    const running = scanner.scan({ mode: 'full', state: null, openFindings: [], signal: stop.signal });
    await assert.rejects(scanner.scan({ mode: 'full', state: null, openFindings: [] }), { code: 'state.busy' });
    stop.abort();
    await assert.rejects(running, { name: 'AbortError' });
    assert.equal(openDescriptors(path), 0);
  });
});

function firstKey(count: number): string {
  return Array.from({ length: count }, (_, index) => nthRecord(index).key).sort()[0] ?? '';
}

function openDescriptors(path: string): number {
  if (process.platform !== 'linux') return 0;
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readFileSync(`/proc/self/fdinfo/${fd}`) && statSync(`/proc/self/fd/${fd}`).ino === statSync(path).ino;
    } catch {
      return false;
    }
  }).length;
}
