import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Level } from 'level';
import { keptFiles } from '../../../../agent/sigils/kept/kept-files.ts';
import { goodRecord } from '../../../../agent/sigils/kept/last-good.ts';
import { limits } from '../../../../common/limits.ts';
import { filesEnding, intoTables, nthRecord, putRecords, secret, temporaryFolder, withStore } from '../stores.ts';
import { dayMs, digests, Keeping } from './keeping.ts';

const small = { writeBufferSize: 64 * 1024, maxFileSize: 1024 * 1024 };

/** A store of some tables and a log, and a data directory beside it. */
async function world(t: Parameters<typeof temporaryFolder>[0]) {
  const folder = temporaryFolder(t);
  const [path, dataDir] = [join(folder, 'db'), join(folder, 'data')];
  await withStore(path, (db) => putRecords(db, 0, 600), small);
  await withStore(path, (db) => putRecords(db, 600, 620));
  return { folder, path, dataDir };
}

async function goodIn(keeping: Keeping, index: number): Promise<unknown> {
  const { key } = nthRecord(index);
  const found = await goodRecord(await keeping.shelf.list(), Buffer.from(key), {
    secrets: [secret],
    clock: keeping.clock,
  });
  return 'value' in found ? JSON.parse(found.value.toString()) : found.map(({ reason }) => reason);
}

describe('a snapshot', () => {
  test('is made of links to the tables of a store that its owner goes on using, and of copies of the rest', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir);
    await withStore(path, async (db) => {
      await keeping.night();
      await db.put('still', 'mine');
    });
    const [snapshot] = await keeping.shelf.list();
    assert.ok(snapshot);
    const names = readdirSync(snapshot.folder);
    const links = names.filter((name) => statSync(join(snapshot.folder, name)).nlink > 1);
    assert.ok(links.length > 1);
    assert.ok(links.every((name) => name.endsWith('.ldb.kept')));
    assert.ok(names.includes('CURRENT.kept') && names.some((name) => name.endsWith('.log.kept')));
    assert.deepEqual(await goodIn(keeping, 3), nthRecord(3).value);
    assert.deepEqual(await goodIn(keeping, 610), nthRecord(610).value);
  });

  test('costs the next minute nothing: tables that were linked, or unlinked, need no second look', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir, { keep: 1 });
    for (let night = 0; night < 3; night++) {
      await keeping.night();
      assert.equal(await keeping.tablesOfNextMinute(), 0, `night ${night}`);
    }
    assert.equal((await keeping.ids()).length, 1);
  });

  test('keeps what the owner compacts, overwrites and deletes afterwards', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir);
    await keeping.night();
    const [snapshot] = await keeping.shelf.list();
    const before = digests(snapshot?.folder ?? '');
    await withStore(
      path,
      async (db) => {
        await db.put(nthRecord(3).key, { spoilt: true });
        await db.del(nthRecord(610).key);
        await putRecords(db, 700, 3_000);
        await intoTables(db);
      },
      small,
    );
    assert.deepEqual(digests(snapshot?.folder ?? ''), before);
    assert.deepEqual(await goodIn(keeping, 3), nthRecord(3).value);
    assert.deepEqual(await goodIn(keeping, 610), nthRecord(610).value);
    assert.deepEqual(await goodIn(keeping, 2_000), ['there is no such record']);
  });

  test('is not kept of a store with findings, and the last good one stays however old it gets', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir, { keepDays: 1 });
    await keeping.night();
    const [id] = await keeping.ids();
    await withStore(path, (db) => db.put(nthRecord(3).key, { spoilt: true }));
    for (let night = 0; night < 4; night++) await keeping.night();
    assert.deepEqual(await keeping.ids(), [id]);
    assert.deepEqual(await goodIn(keeping, 3), nthRecord(3).value);
  });

  test('is not made again by a check that is made every minute', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir);
    await keeping.night();
    keeping.clock.stepMs -= 86_400_000 - 60_000;
    await keeping.night();
    assert.equal((await keeping.ids()).length, 1);
  });

  test('is made no more often while the clock is wrong', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir);
    await keeping.night();
    keeping.clock.stepMs -= 400 * dayMs;
    for (let minute = 0; minute < 3; minute++) {
      await keeping.night();
      keeping.clock.stepMs -= dayMs - 60_000;
    }
    assert.equal((await keeping.ids()).length, 2);
  });

  test('opened as a database by mistake is an empty one, and neither it nor the store is touched', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir);
    await keeping.night();
    const [snapshot] = await keeping.shelf.list();
    assert.ok(snapshot);
    const before = [digests(snapshot.folder), digests(path)];
    const db = new Level<string, unknown>(snapshot.folder, { valueEncoding: 'json' });
    assert.deepEqual(await db.keys().all(), []);
    await putRecords(db, 0, 300);
    await intoTables(db);
    await db.close();
    const after = digests(snapshot.folder);
    assert.deepEqual(Object.fromEntries(Object.keys(before[0] ?? {}).map((file) => [file, after[file]])), before[0]);
    assert.deepEqual(digests(path), before[1]);
    assert.deepEqual(await goodIn(keeping, 3), nthRecord(3).value);
  });

  test('counts only under its own name: what a crash leaves is cleared away', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir);
    await keeping.shelf.stage('20260101T000000000Z');
    writeFileSync(join(keeping.shelf.folder, '.staging-20260101T000000000Z/CURRENT.kept'), 'MANIFEST-000001\n');
    assert.deepEqual(await keeping.ids(), []);
    await keeping.night();
    assert.deepEqual(readdirSync(keeping.shelf.folder), await keeping.ids());
  });

  test('is passed over when a pipe, a link or too much stands in place of its note', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir);
    await keeping.night();
    const [snapshot] = await keeping.shelf.list();
    const note = join(snapshot?.folder ?? assert.fail(), 'snapshot.json');
    const text = readFileSync(note);
    const makers = [
      () => execFileSync('mkfifo', [note]),
      () => symlinkSync('/dev/zero', note),
      () => {
        writeFileSync(note, text);
        truncateSync(note, limits.maxSnapshotNoteBytes + 1);
      },
    ];
    for (const make of makers) {
      rmSync(note);
      make();
      assert.deepEqual(await keeping.shelf.list(), []);
      rmSync(note);
      writeFileSync(note, text);
    }
    assert.equal((await keeping.shelf.list()).length, 1);
  });

  test('is made whatever lies beside the store, and none of that is in it', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir);
    // No log that counts: the first numbers went to a MANIFEST and the tables.
    execFileSync('mkfifo', [join(path, '000001.log'), join(path, 'any.log')]);
    mkdirSync(join(path, '000002.log'));
    await keeping.night();
    const [snapshot] = await keeping.shelf.list();
    assert.ok(snapshot, keeping.logged.join('\n'));
    assert.equal(readdirSync(snapshot.folder).filter((name) => name.endsWith('.log.kept')).length, 1);
    assert.deepEqual(await goodIn(keeping, 610), nthRecord(610).value);
  });

  test('is not made of a store whose logs are larger than what it may hold', async (t) => {
    const { path, dataDir } = await world(t);
    const keeping = new Keeping(path, dataDir, { maxBytes: 4 * 1024 ** 2 });
    // Each small enough; zeros are what a log may end in.
    for (const name of ['900001.log', '900002.log', '900003.log']) {
      writeFileSync(join(path, name), '');
      truncateSync(join(path, name), 3 * 1024 ** 2);
    }
    await keeping.night();
    assert.match(keeping.logged.join('\n'), /snapshot\.failed: .*logs and MANIFEST .* more than the 4194304 allowed/);
    assert.deepEqual(readdirSync(keeping.shelf.folder), []);
    assert.equal(await keeping.tablesOfNextMinute(), 0);
  });

  test('never holds a symbolic link in place of a table', async (t) => {
    const { folder, path, dataDir } = await world(t);
    const [table = ''] = filesEnding(path, '.ldb');
    const elsewhere = join(folder, table);
    await new Keeping(path, dataDir).night();
    // Every check passes: the bytes are there.
    copyFileSync(join(path, table), elsewhere);
    rmSync(join(path, table));
    symlinkSync(elsewhere, join(path, table));
    const keeping = new Keeping(path, join(folder, 'other'));
    await keeping.night();
    assert.deepEqual(await keeping.ids(), []);
    assert.match(keeping.logged.join(), /snapshot\.failed.*not a regular file/);
  });
});

describe('where there can be no links', () => {
  const tmpfs = '/dev/shm';
  const skip =
    !existsSync(tmpfs) || statSync(tmpfs).dev === statSync('/tmp').dev ? 'no second file system here' : false;

  test('tables are copied, once each, and it is said once why', { skip }, async (t) => {
    const { path } = await world(t);
    const dataDir = mkdtempSync(join(tmpfs, 'sigil-kept-'));
    t.after(() => rmSync(dataDir, { recursive: true, force: true }));
    const keeping = new Keeping(path, dataDir);
    await keeping.night();
    // Nothing is written in between: LevelDB might merge all tables into new ones.
    await keeping.night();
    assert.equal(keeping.logged.filter((line) => /^snapshot\.copied: .*EXDEV/.test(line)).length, 1);
    const [second, first] = await keeping.shelf.list();
    assert.ok(first && second);
    const shared = [...second.copies.keys()];
    assert.deepEqual(shared, [...first.copies.keys()]);
    assert.ok(shared.length > 0);
    for (const name of shared) {
      const before = await keptFiles(first.folder).stamp(name);
      assert.equal((await keptFiles(second.folder).stamp(name))?.identity, before?.identity, name);
    }
    assert.deepEqual(await goodIn(keeping, 3), nthRecord(3).value);
  });

  test('a store that is too large for the bound is not copied', { skip }, async (t) => {
    const { path } = await world(t);
    const dataDir = mkdtempSync(join(tmpfs, 'sigil-kept-'));
    t.after(() => rmSync(dataDir, { recursive: true, force: true }));
    const keeping = new Keeping(path, dataDir, { maxBytes: 10_000 });
    await keeping.night();
    assert.deepEqual([await keeping.ids(), readdirSync(keeping.shelf.folder)], [[], []]);
    assert.match(keeping.logged.join(), /snapshot\.failed.*maxBytes.*EXDEV/);
  });
});

test('a copy outlasts damage in place, which a link shares', async (t) => {
  const { path, folder } = await world(t);
  const [linked, copied] = [
    new Keeping(path, join(folder, 'a')),
    new Keeping(path, join(folder, 'b'), { by: 'copies' }),
  ];
  await linked.night();
  await copied.night();
  for (const name of filesEnding(path, '.ldb')) {
    const file = openSync(join(path, name), 'r+');
    writeSync(file, Buffer.alloc(200, 0x55), 0, 200, 100);
    closeSync(file);
  }
  const byKey = Array.from({ length: 600 }, (_, index) => ({ index, key: nthRecord(index).key }));
  const at = byKey.sort((left, right) => (left.key < right.key ? -1 : 1))[0]?.index ?? 0;
  assert.match(String(await goodIn(linked, at)), /damaged place/);
  assert.deepEqual(await goodIn(copied, at), nthRecord(at).value);
});
