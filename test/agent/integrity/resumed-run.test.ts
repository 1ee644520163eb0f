import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { integrityRun } from '../../../agent/commands/integrity.ts';
import { writeDurably } from '../../../agent/data/durable-file.ts';
import { integrityReport, type ReportedStore } from '../../../common/integrity-report.ts';
import { limits } from '../../../common/limits.ts';
import { fromSource } from '../../from-source.ts';
import { until } from '../../until.ts';
import { Nights } from '../sigils/inventory/inventories.ts';
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
} from '../sigils/stores.ts';
import { runSettings } from './run-settings.ts';

const records = 3_000;
interface Ground {
  readonly path: string;
  readonly dataDir: string;
  /** Of a second store. */
  readonly otherPath?: string;
}

/** A store of many tables, and some records in its log. */
async function ground(t: TestContext): Promise<Ground> {
  const folder = temporaryFolder(t);
  const path = join(folder, 'db');
  await makeLarge(path);
  return { path, dataDir: join(folder, 'data') };
}

function makeLarge(path: string): Promise<void> {
  return withStore(
    path,
    async (db) => {
      await putLarge(db, 0, records);
      await intoTables(db);
      await putLarge(db, records, records + 50);
    },
    manyTables,
  );
}

/** How many tables need not be read again. */
function done({ dataDir }: Ground, store = 'main'): number {
  const path = join(dataDir, 'reports', `${store}.run.progress`);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).tables.length : 0;
}

/** Begins a run as a process of its own, and kills it once it has remembered so many tables more. */
async function killedRun(on: Ground, tables = 1, store = 'main'): Promise<void> {
  const other = on.otherPath === undefined ? [] : [on.otherPath];
  const args = [...fromSource(join(import.meta.dirname, 'slow-run.ts')), on.path, on.dataDir, ...other];
  const before = done(on, store);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  await until('it has got on', () => done(on, store) >= before + tables || child.exitCode !== null, 60_000);
  child.kill('SIGKILL');
  assert.deepEqual(await ended, [null, 'SIGKILL']);
}

async function run(
  { path, dataDir, otherPath }: Ground,
  { fromStart = false, secrets = secret, now = clock.now } = {},
) {
  let [stdout, stderr] = ['', ''];
  const world = {
    ...{
      settings: runSettings(path, dataDir, secrets, otherPath),
      clock: { ...clock, now },
      json: true,
      terminal: false,
      writeFile: writeDurably,
    },
    stdout: (text: string) => {
      stdout += text;
    },
    stderr: (text: string) => {
      stderr += text;
    },
  };
  const code = await integrityRun(world, { node: 'lyra', fromStart });
  const { stores } = integrityReport.parse(JSON.parse(stdout));
  const [store, other] = stores.map(factsOf);
  return { code, stderr, store: store ?? assert.fail(), other };
}

function factsOf(store: ReportedStore) {
  assert.ok(store.counts);
  const { counts, status, resumed, findings } = store;
  return { counts, status, resumed, findings: findings.map(({ firstSeen: _, ...finding }) => finding) };
}

describe('a run by hand that was killed', () => {
  test('goes on where it was, time and again, says so, and its report is that of a whole one', async (t) => {
    const on = await ground(t);
    const tables = filesEnding(on.path, '.ldb');
    // One that is read first, and one that is read last.
    for (const file of [tables[0] ?? '', tables.at(-2) ?? '']) flip(join(on.path, file), 100);
    const whole = await run({ ...on, dataDir: join(on.dataDir, '..', 'other') });
    assert.deepEqual([whole.stderr, whole.store.resumed, whole.store.findings.length], ['', null, 2]);
    for (let nth = 1; nth <= 3; nth++) await killedRun(on, 2);
    const before = done(on);
    const { code, stderr, store } = await run(on);
    assert.ok(before >= 5 && before < tables.length, `${before} of ${tables.length} tables`);
    const { startedAt, records: read } = store.resumed ?? assert.fail('not gone on with');
    assert.equal(stderr, `main: going on with the run from ${startedAt}, ${read} records checked before\n`);
    assert.ok(read > 0 && read < whole.store.counts.records);
    assert.deepEqual([code, { ...store, resumed: null }], [1, whole.store]);
    assert.deepEqual(
      readdirSync(join(on.dataDir, 'reports')).filter((name) => name.startsWith('main.')),
      [],
    );
    assert.equal((await run(on)).store.resumed, null, 'the next one begins anew');
  });

  test('in its second store goes on in both: the first is not read anew, and the report has all of each', async (t) => {
    const first = await ground(t);
    const on = { ...first, otherPath: join(first.dataDir, '..', 'other') };
    await makeLarge(on.otherPath);
    const tables = filesEnding(on.path, '.ldb');
    flip(join(on.path, tables[0] ?? ''), 100);
    flip(join(on.otherPath, filesEnding(on.otherPath, '.ldb').at(-1) ?? ''), 100);
    const whole = await run({ ...on, dataDir: join(on.dataDir, '..', 'whole') });
    await killedRun(on, 3, 'other');
    const { code, stderr, store, other } = await run(on);
    // What was read of it behind its last checkpoint is read again, as is what had findings.
    const again = whole.store.counts.records - (store.resumed?.records ?? 0);
    assert.ok(store.resumed && again < whole.store.counts.records / 2, `${again} records are read again`);
    assert.ok(other?.resumed);
    const said = [store, other].map(({ resumed }, nth) => {
      const { startedAt, records: read } = resumed ?? assert.fail();
      return `${['main', 'other'][nth]}: going on with the run from ${startedAt}, ${read} records checked before\n`;
    });
    assert.equal(stderr, said.join(''));
    assert.deepEqual(
      [code, checksOf(store.findings), checksOf(other.findings)],
      [1, ['block_checksum'], ['block_checksum']],
    );
    assert.deepEqual(
      [
        { ...store, resumed: null },
        { ...other, resumed: null },
      ],
      [whole.store, whole.other],
    );
    const left = readdirSync(join(on.dataDir, 'reports')).filter((name) => name.includes('.run.'));
    assert.deepEqual(left, [], 'nothing of either');
  });

  test('begins anew when it is told to', async (t) => {
    const on = await ground(t);
    await killedRun(on, 3);
    const { stderr, store } = await run(on, { fromStart: true });
    assert.deepEqual([stderr, store.resumed, store.counts.sigils], ['', null, records + 50]);
  });

  test('compares with the inventory of the agent, whose own position it leaves alone', async (t) => {
    const on = await ground(t);
    await new Nights(on.path, on.dataDir).scan();
    await withStore(on.path, (db) => db.del(nthRecord(20).key), manyTables);
    const own = ['progress', 'taking'].map((ending) => join(on.dataDir, 'inventory', `main.inventory.${ending}`));
    for (const path of own) writeFileSync(path, 'of the agent');
    await killedRun(on, 3);
    const { stderr, store } = await run(on);
    assert.match(stderr, /going on/);
    assert.deepEqual([checksOf(store.findings), store.findings[0]?.key], [['vanished'], nthRecord(20).key]);
    assert.deepEqual(
      own.map((path) => readFileSync(path, 'utf8')),
      ['of the agent', 'of the agent'],
    );
  });

  test('begins anew when there is an inventory that it has taken nothing down for', async (t) => {
    const on = await ground(t);
    await killedRun(on, 3);
    await new Nights(on.path, on.dataDir).scan();
    const { store } = await run(on);
    assert.deepEqual([store.resumed, store.findings], [null, []]);
  });

  test('counts a table once that was rewritten since', async (t) => {
    const on = await ground(t);
    await killedRun(on, 5);
    const newest = filesEnding(on.path, '.ldb').at(-1) ?? assert.fail();
    const bytes = readFileSync(join(on.path, newest));
    rmSync(join(on.path, newest));
    writeFileSync(join(on.path, newest), bytes);
    const { store } = await run(on);
    assert.ok(store.resumed);
    assert.equal(store.counts.sigils, records + 50);
  });

  test('waits for nothing that stands in place of its position, and reads the store whatever stands there', async (t) => {
    const on = await ground(t);
    const reports = join(on.dataDir, 'reports');
    const precious = join(on.dataDir, '..', 'precious');
    mkdirSync(reports, { recursive: true, mode: 0o700 });
    writeFileSync(precious, 'of somebody else');
    const others: [string, (at: string) => void][] = [
      ['pipe', (at) => execFileSync('mkfifo', [at])],
      ['endless', (at) => symlinkSync('/dev/zero', at)],
      ['link', (at) => symlinkSync(precious, at)],
      ['huge', (at) => execFileSync('truncate', [`--size=${limits.maxScanPositionBytes + 1}`, at])],
    ];
    for (const [what, make] of others) {
      for (const ending of ['progress', 'taking']) {
        make(join(reports, `main.run.${ending}`));
        const { code, store } = await run(on);
        const { resumed, counts } = store;
        assert.deepEqual([code, resumed, counts.records], [0, null, records + 50], `${what} as ${ending}`);
        const left = readdirSync(reports).filter((name) => name.startsWith('main.'));
        assert.deepEqual(left, [], `${what} as ${ending}`);
      }
    }
    assert.equal(readFileSync(precious, 'utf8'), 'of somebody else');
    for (const ending of ['progress', 'taking', 'taking.new']) {
      const path = join(reports, `main.run.${ending}`);
      mkdirSync(path);
      // What can be removed by nobody but a person costs the comparison, and is named.
      const { code, store } = await run(on);
      assert.deepEqual([code, store.status, store.counts.records], [2, 'unchecked', records + 50], ending);
      rmSync(path, { recursive: true });
    }
  });

  test('begins anew after too long a time, with other secrets, and over a store that was replaced', async (t) => {
    const on = await ground(t);
    const copy = join(on.path, '..', 'copy');
    const isAnew = async (why: string, options: Parameters<typeof run>[1] = {}) => {
      assert.ok(done(on) > 0);
      const { stderr, store } = await run(on, options);
      const said = `main: beginning anew, and not going on with the run that was cut short: ${why}\n`;
      assert.deepEqual([stderr, store.resumed, store.counts.records], [said, null, records + 50]);
    };
    const judge =
      'the program, its secrets, or whether there is an inventory to compare with, are not the same any more';
    await killedRun(on);
    await isAnew('it was begun more than 20 hours ago', { now: () => clock.now() + limits.fullScanResumeMs + 1_000 });
    await killedRun(on);
    await isAnew(judge, { secrets: 'another' });
    await killedRun(on);
    cpSync(on.path, copy, { recursive: true, preserveTimestamps: true });
    rmSync(on.path, { recursive: true });
    cpSync(copy, on.path, { recursive: true, preserveTimestamps: true });
    await isAnew('the store was replaced since');
    await killedRun(on);
    // Even of the very same files: of a folder that was away, nobody knows what it was for.
    renameSync(on.path, `${on.path}.away`);
    mkdirSync(on.path);
    for (const name of readdirSync(`${on.path}.away`)) renameSync(join(`${on.path}.away`, name), join(on.path, name));
    await isAnew('the store was replaced since');
  });
});
