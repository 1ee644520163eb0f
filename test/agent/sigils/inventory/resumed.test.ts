import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fsStoreFiles } from '../../../../agent/sigils/fs-store-files.ts';
import type { ScanResult } from '../../../../agent/sigils/scan.ts';
import { SigilScanner } from '../../../../agent/sigils/scanner.ts';
import { limits } from '../../../../common/limits.ts';
import type { SigilFinding } from '../../../../common/sigil.ts';
import { fromSource } from '../../../from-source.ts';
import { until } from '../../../until.ts';
import {
  checksOf,
  clock,
  filesEnding,
  flip,
  intoTables,
  manyTables,
  nthRecord,
  putLarge,
  secret,
  temporaryFolder,
  withStore,
} from '../stores.ts';

const records = 3_000;
/** A store of many tables, and some records in its log. */
async function ground(t: TestContext) {
  const path = join(temporaryFolder(t), 'db');
  await withStore(
    path,
    async (db) => {
      await putLarge(db, 0, records);
      await intoTables(db);
      await putLarge(db, records, records + 50);
    },
    manyTables,
  );
  return { path, inventory: join(temporaryFolder(t), 'inventory', 'main.inventory') };
}

interface Scan {
  readonly path: string;
  readonly inventory: string;
  readonly open?: readonly SigilFinding[];
  readonly secrets?: readonly string[];
  readonly now?: () => number;
  /** Ends the scan when so many tables were read. */
  readonly cutAfter?: number;
}

/** A full scan as an agent makes it, which tables it read, and why it began anew; no result when it was cut short. */
async function scan({ path, inventory, open = [], secrets = [secret], now = clock.now, cutAfter }: Scan) {
  const read: string[] = [];
  const refused: string[] = [];
  const onRefused = (why: string) => void refused.push(why);
  const cut = new AbortController();
  const real = fsStoreFiles(path);
  let ended = 0;
  const files = {
    ...real,
    open: async (name: string) => {
      const file = await real.open(name);
      if (file === null || !name.endsWith('.ldb')) return file;
      return {
        ...file,
        read: (target: Buffer, position: number) => {
          if (!read.includes(name)) {
            read.push(name);
            ended = read.length - 1;
            if (ended === cutAfter) cut.abort(new Error('cut short'));
          }
          return file.read(target, position);
        },
      };
    },
  };
  const scanner = new SigilScanner({ name: 'main', path, secrets, clock: { ...clock, now }, files });
  const request = { mode: 'full', state: null, openFindings: open, signal: cut.signal } as const;
  const result = await scanner
    .scan({ ...request, inventory: { path: inventory, keeps: true, checkpointBytes: 1, onRefused } })
    .catch((thrown: unknown): undefined => {
      if (!cut.signal.aborted) throw thrown;
    });
  await result?.inventory?.keep();
  return { result, read, refused };
}

/** What a scan comes to, without how long it took and what is kept. */
function facts({ tables, blocks, records: stored, sigils, findings, settled }: ScanResult) {
  return { tables, blocks, stored, sigils, findings, settled };
}

function left(inventory: string): string[] {
  return readdirSync(dirname(inventory)).sort();
}

describe('a full scan that was cut short', () => {
  test('is gone on with: no table is read twice, and it comes to the same', async (t) => {
    const { path, inventory } = await ground(t);
    const other = join(temporaryFolder(t), 'inventory', 'main.inventory');
    const whole = await scan({ path, inventory: other });
    assert.ok(whole.result !== undefined && whole.result.inventory?.resumed === null);
    const first = await scan({ path, inventory, cutAfter: 5 });
    assert.equal(first.result, undefined);
    assert.deepEqual(left(inventory), ['main.inventory.progress', 'main.inventory.taking']);
    const second = await scan({ path, inventory });
    assert.ok(second.result !== undefined);
    const done = second.result.inventory?.resumed?.tables ?? 0;
    assert.ok(done >= 1 && done <= 5, `${done} tables`);
    assert.equal(second.read.length, whole.read.length - done);
    assert.deepEqual(facts(second.result), facts(whole.result));
    assert.deepEqual(readFileSync(inventory), readFileSync(other));
    assert.deepEqual(left(inventory), ['main.inventory']);
    assert.equal((await scan({ path, inventory })).result?.inventory?.resumed, null, 'the next one begins anew');
  });

  test('may be cut short again and again, by SIGKILL too', async (t) => {
    const { path, inventory } = await ground(t);
    const all = filesEnding(path, '.ldb').length;
    for (let cut = 1; cut <= 3; cut++) {
      const args = [...fromSource(join(import.meta.dirname, 'slow-scanner.ts')), path, inventory];
      const before = progressOf(inventory);
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
      const ended = once(child, 'exit');
      await until('it has got on', () => progressOf(inventory) > before || child.exitCode !== null, 60_000);
      child.kill('SIGKILL');
      assert.deepEqual(await ended, [null, 'SIGKILL']);
    }
    const done = progressOf(inventory);
    const { result, read } = await scan({ path, inventory });
    assert.ok(done >= 3);
    assert.deepEqual([read.length, result?.inventory?.keys, result?.findings], [all - done, records + 50, []]);
    assert.deepEqual(left(inventory), ['main.inventory']);
  });

  test('finds what was bad in its first part, and what became bad since', async (t) => {
    const { path, inventory } = await ground(t);
    // The newest are read first.
    const tables = filesEnding(path, '.ldb').reverse();
    const [first = '', , third = ''] = tables;
    flip(join(path, first), 100);
    await scan({ path, inventory, cutAfter: 5 });
    flip(join(path, third), 100);
    const { result, read } = await scan({ path, inventory });
    assert.ok(result !== undefined);
    assert.deepEqual(
      result.findings.map(({ check, file }) => [check, file]).sort(),
      [first, third].map((file) => ['block_checksum', file]).sort(),
    );
    assert.ok(read.includes(first) && read.includes(third) && read.length < tables.length);
    await scan({ path, inventory, open: result.findings, cutAfter: 5 });
    const again = await scan({ path, inventory, open: result.findings });
    assert.deepEqual([again.result?.findings, again.result?.cleared], [[], []]);
  });

  test('finds a bad record in its first part, and what is gone since the inventory before', async (t) => {
    const { path, inventory } = await ground(t);
    await scan({ path, inventory });
    const { key, value } = nthRecord(10);
    await withStore(
      path,
      async (db) => {
        await db.put(key, { ...value, checksum: '0'.repeat(64) });
        await db.del(nthRecord(20).key);
        await intoTables(db);
      },
      manyTables,
    );
    await scan({ path, inventory, cutAfter: filesEnding(path, '.ldb').length - 1 });
    const { result } = await scan({ path, inventory });
    assert.ok((result?.inventory?.resumed?.tables ?? 0) > 0);
    assert.deepEqual(checksOf(result?.findings ?? []), ['checksum', 'vanished']);
  });

  describe('begins anew', () => {
    const isAnew = async (options: Scan, why: RegExp | null) => {
      const { result, refused } = await scan(options);
      assert.equal(refused.length, why === null ? 0 : 1);
      if (why !== null) assert.match(refused[0] ?? '', why);
      assert.deepEqual([result?.inventory?.resumed, result?.inventory?.failed], [null, null]);
      assert.deepEqual([result?.findings, result?.inventory?.keys], [[], records + 50]);
      assert.deepEqual(left(options.inventory), ['main.inventory']);
    };

    test('when too much time has passed, or the clock was set back', async (t) => {
      const { path, inventory } = await ground(t);
      for (const [ms, why] of [
        [limits.fullScanResumeMs + 1_000, /more than 20 hours ago/],
        [-60_000, /the clock was set back/],
      ] as const) {
        await scan({ path, inventory, cutAfter: 5 });
        await isAnew({ path, inventory, now: () => clock.now() + ms }, why);
      }
    });

    test('when it is judged by other secrets', async (t) => {
      const { path, inventory } = await ground(t);
      await scan({ path, inventory, cutAfter: 5, secrets: ['another', secret] });
      await isAnew({ path, inventory }, /its secrets/);
    });

    test('when its files are torn, changed or gone, and not when a crash left more than counts', async (t) => {
      const { path, inventory } = await ground(t);
      const [taking, progress] = [`${inventory}.taking`, `${inventory}.progress`];
      const damages: readonly (readonly [damage: () => void, why: RegExp | null])[] = [
        [() => flip(taking, 10), /taken down is gone or damaged/],
        [() => writeFileSync(taking, ''), /taken down is gone or damaged/],
        [() => rmSync(taking), /taken down is gone or damaged/],
        [() => rmSync(progress), null],
        [() => writeFileSync(progress, '{"version":1}'), /another version/],
        [() => writeFileSync(progress, '{"version":2}'), /wrote down cannot be read/],
        [() => writeFileSync(progress, '{'), /wrote down cannot be read/],
      ];
      for (const [damage, why] of damages) {
        await scan({ path, inventory, cutAfter: 5 });
        damage();
        await isAnew({ path, inventory }, why);
      }
      await scan({ path, inventory, cutAfter: 5 });
      appendFileSync(taking, 'what a crash has left');
      const { result } = await scan({ path, inventory });
      assert.ok((result?.inventory?.resumed?.tables ?? 0) > 0);
      assert.deepEqual([result?.findings, result?.inventory?.keys], [[], records + 50]);
    });

    test('when the store is an older one now', async (t) => {
      const { path, inventory } = await ground(t);
      const older = join(temporaryFolder(t), 'older');
      cpSync(path, older, { recursive: true, preserveTimestamps: true });
      await withStore(path, (db) => putLarge(db, 0, 2_000), manyTables);
      await scan({ path, inventory, cutAfter: 5 });
      assert.ok(existsSync(`${inventory}.progress`));
      rmSync(path, { recursive: true });
      cpSync(older, path, { recursive: true, preserveTimestamps: true });
      await isAnew({ path, inventory }, /the store was replaced/);
    });

    test('when its files are those of an older one, in the same folder', async (t) => {
      const { path, inventory } = await ground(t);
      const older = join(temporaryFolder(t), 'older');
      cpSync(path, older, { recursive: true, preserveTimestamps: true });
      await withStore(path, (db) => putLarge(db, 0, 2_000), manyTables);
      await scan({ path, inventory, cutAfter: 5 });
      for (const name of readdirSync(path)) rmSync(join(path, name));
      for (const name of readdirSync(older)) cpSync(join(older, name), join(path, name), { preserveTimestamps: true });
      await isAnew({ path, inventory }, /went back to an earlier state/);
    });

    test('when none of the tables that it had read is as it was', async (t) => {
      const { path, inventory } = await ground(t);
      await scan({ path, inventory, cutAfter: 5 });
      await withStore(path, (db) => intoTables(db), manyTables);
      for (const name of filesEnding(path, '.ldb')) {
        const bytes = readFileSync(join(path, name));
        rmSync(join(path, name));
        writeFileSync(join(path, name), bytes);
      }
      await isAnew({ path, inventory }, /none of the tables/);
    });
  });
});

/** How many tables need not be read again. */
function progressOf(inventory: string): number {
  const path = `${inventory}.progress`;
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).tables.length : 0;
}
