import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { FileWindow } from '../../../agent/sigils/file-window.ts';
import { fsStoreFiles } from '../../../agent/sigils/fs-store-files.ts';
import { Pacer } from '../../../agent/sigils/pacer.ts';
import { SigilScanner } from '../../../agent/sigils/scanner.ts';
import { Snapshots, takeSnapshot } from '../../../agent/sigils/snapshot.ts';
import type { StoreFiles } from '../../../agent/sigils/store-files.ts';
import { clock, flip, intoTables, putRecords, secret, temporaryFolder, withStore } from './stores.ts';

const pacer = () => new Pacer(clock, () => Promise.resolve(), undefined);

/** The files at `path`; `positions` is told where each look at the MANIFEST begins to read. */
function watchedFiles(
  path: string,
  positions: number[],
  beforeTable: () => Promise<void> = async () => {},
): StoreFiles {
  const real = fsStoreFiles(path);
  const open: StoreFiles['open'] = async (name) => {
    if (name.endsWith('.ldb')) await beforeTable();
    const file = await real.open(name);
    if (file === null || !name.startsWith('MANIFEST')) return file;
    let isFirst = true;
    const read: typeof file.read = (target, position) => {
      if (isFirst) positions.push(position);
      isFirst = false;
      return file.read(target, position);
    };
    return { ...file, read };
  };
  return { ...real, open };
}

describe('the second look at a store', () => {
  it('reads only what the MANIFEST has grown by, and sees what one from the beginning sees', async (t) => {
    const path = temporaryFolder(t);
    const positions: number[] = [];
    const snapshots = new Snapshots(watchedFiles(path, positions), new FileWindow(), pacer());
    const sameAsFresh = async () => {
      const followed = await snapshots.take();
      assert.deepEqual(followed, await takeSnapshot(fsStoreFiles(path), new FileWindow(), pacer()));
      return followed;
    };
    const names = new Set<string>();
    await withStore(path, async (db) => {
      for (let round = 0; round < 10; round++) {
        await putRecords(db, round * 50, round * 50 + 100);
        if (round % 2 === 0) await intoTables(db);
        for (const name of (await sameAsFresh()).tables.keys()) names.add(name);
      }
    });
    assert.ok(names.size > 3, 'tables came and went');
    assert.equal(positions.filter((position) => position === 0).length, 1);
    // Opened again, it has another MANIFEST, which says everything anew.
    await withStore(path, async () => void (await sameAsFresh()));
    assert.equal(positions.at(-1), 0);
  });

  it('is from the beginning again after one that found damage, and finds it again', async (t) => {
    const path = temporaryFolder(t);
    const positions: number[] = [];
    const snapshots = new Snapshots(watchedFiles(path, positions), new FileWindow(), pacer());
    await withStore(path, async (db) => {
      await putRecords(db, 0, 100);
      await intoTables(db);
      assert.deepEqual((await snapshots.take()).problems, []);
      await putRecords(db, 0, 100);
      await intoTables(db);
    });
    const [manifest = ''] = readdirSync(path).filter((name) => name.startsWith('MANIFEST'));
    flip(join(path, manifest), statSync(join(path, manifest)).size - 4);
    for (let look = 0; look < 2; look++) assert.equal((await snapshots.take()).problems.length, 1);
    assert.deepEqual(
      positions.map((position) => position > 0),
      [false, true, false],
    );
  });
});

it('a scan that comes too late for a table reads on in the MANIFEST where it was', async (t) => {
  const path = temporaryFolder(t);
  const positions: number[] = [];
  let compactions = 5;
  await withStore(path, async (db) => {
    await putRecords(db, 0, 100);
    await intoTables(db);
    const files = watchedFiles(path, positions, async () => {
      if (compactions === 0) return;
      compactions--;
      await putRecords(db, 0, 100);
      await intoTables(db);
    });
    const scanner = new SigilScanner({ name: 'main', path, secrets: [secret], clock, files });
    const { findings, settled, sigils } = await scanner.scan({ mode: 'full', state: null, openFindings: [] });
    assert.deepEqual([findings, settled, sigils], [[], true, 100]);
  });
  assert.ok(positions.length > 5, `${positions.length} looks`);
  assert.equal(positions.filter((position) => position === 0).length, 1);
});
