import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { CurrentRecords } from '../../../agent/sigils/current-records.ts';
import { fsStoreFiles } from '../../../agent/sigils/fs-store-files.ts';
import { KeysInRanges } from '../../../agent/sigils/kept/keys-in-ranges.ts';
import { Pacer } from '../../../agent/sigils/pacer.ts';
import { integrityReport, type ReportedFinding } from '../../../common/integrity-report.ts';
import { limits } from '../../../common/limits.ts';
import { restoreCommandInPlace } from '../../../common/restore-command.ts';
import { SigilChecker } from '../../../common/sigil.ts';
import { foreignText } from '../../../common/sigil-text.ts';
import { agentCommand } from '../program.ts';
import { digests, Keeping } from '../sigils/kept/keeping.ts';
import { clock, filesEnding, flip, intoTables, secret, withStore } from '../sigils/stores.ts';
import { tempFolder } from '../watching.ts';

const temp = tempFolder();
const shape = { compression: false };
/** What a page, a terminal and a shell could take for something else. */
const oddKey = 'k00003<script>\u001b[2J\u202e\'"$HOME`';
const keys = [...Array.from({ length: 600 }, (_, nth) => `k${String(nth).padStart(5, '0')}`), oddKey].sort();
const storedUnder = (key: string) => ({ of: key, pad: 'x'.repeat(60) });
let folder: string;
let path: string;
let dataDir: string;
let config: string;

beforeEach(async () => {
  folder = mkdtempSync(join(temp, 'places-'));
  path = join(folder, 'db');
  dataDir = join(folder, 'data');
  config = join(folder, 'agent.yaml');
  writeFileSync(config, `dataDir: ${dataDir}\nsigils: {stores: {main: ${path}}, secrets: [${secret}]}\n`);
  await withStore(
    path,
    async (db) => {
      await db.batch(keys.map((key) => ({ type: 'put', key, value: storedUnder(key) })));
      await intoTables(db);
    },
    shape,
  );
});

const integrity = (...args: string[]) => agentCommand(['--config', config, 'integrity', ...args]);
const tablePath = () => join(path, filesEnding(path, '.ldb')[0] ?? assert.fail('there is no table'));

async function reported() {
  const { stdout, code } = await integrity('run', '--node', 'lyra', '--json');
  assert.equal(code, 1);
  const report = integrityReport.parse(JSON.parse(stdout));
  const [finding, ...others] = report.stores[0]?.findings ?? [];
  assert.deepEqual([finding?.check, others], ['block_checksum', []]);
  const page = join(folder, 'page.html');
  const { stdout: text } = await integrity('show', report.id, '--html', page);
  return { finding: finding ?? assert.fail(), text, page: readFileSync(page, 'utf8') };
}

/** Keys behind the first bound, and the first one in the first block, by what is known to have been written. */
function keysOf({ keyRange }: ReportedFinding, { isFirst = false } = {}): string[] {
  assert.ok(keyRange !== null);
  const { from, to } = keyRange;
  return keys.filter((key) => foreignText(Buffer.from(key)) <= to && (isFirst ? key >= from : key > from));
}

describe('a bad block, of which a copy is kept', () => {
  test('comes with the keys in it, and each with its last good copy and a command that writes that out', async () => {
    await new Keeping(path, dataDir, { by: 'copies' }).night();
    flip(tablePath(), 100);
    const before = digests(path);
    const { finding, text, page } = await reported();
    const { records } = finding;
    assert.ok(records);
    const expected = keysOf(finding, { isFirst: true });
    assert.ok(expected.includes(oddKey) && expected.length > limits.maxKeysOfPlace);
    assert.deepEqual(
      records.keys.map(({ key }) => key),
      expected.slice(0, limits.maxKeysOfPlace).map((key) => foreignText(Buffer.from(key))),
    );
    assert.deepEqual([records.moreKeys, records.isWhole], [expected.length - limits.maxKeysOfPlace, true]);
    assert.ok(records.keys.every(({ lastGood }) => lastGood?.snapshot === records.snapshot));
    const odd = records.keys.findIndex(({ key }) => key.includes('script'));
    const names = new Set<string>();
    for (const nth of [0, odd]) {
      const command = restoreCommandInPlace('main', finding, nth) ?? assert.fail('there is no command');
      const [, ...args] = execFileSync('sh', ['-c', `printf '%s\\0' ${command}`], { encoding: 'utf8' }).split('\0');
      const to = join(folder, args.find((arg) => arg.startsWith('--to='))?.slice('--to='.length) ?? assert.fail());
      const { code, stderr } = await agentCommand([
        ...['--config', config],
        ...args.slice(0, -1).map((arg) => (arg.startsWith('--to=') ? `--to=${to}` : arg)),
      ]);
      assert.deepEqual([code, stderr.includes('no sigil')], [0, true]);
      assert.deepEqual(JSON.parse(readFileSync(to, 'utf8')), storedUnder(expected[nth] ?? ''));
      names.add(to);
      assert.ok(text.includes(`restore it: ${command}`));
    }
    assert.equal(names.size, 2, 'each its own file');
    assert.ok(text.includes(`      and ${records.moreKeys} more`));
    assert.ok(page.includes('Records there, by the snapshot of') && page.includes(`And ${records.moreKeys} more.`));
    for (const raw of ['\u001b', '\u202e']) assert.ok(!text.includes(raw), raw);
    for (const raw of ['<script>', '\u001b', '\u202e']) assert.ok(!page.includes(raw), raw);
    assert.deepEqual(digests(path), before);
  });

  test('does not come with the last key of the block before, which is the bound of its range', async () => {
    await new Keeping(path, dataDir, { by: 'copies' }).night();
    flip(tablePath(), 9_000);
    const { finding } = await reported();
    assert.ok(keys.includes(finding.keyRange?.from ?? ''));
    assert.deepEqual(
      finding.records?.keys.map(({ key }) => key),
      keysOf(finding).slice(0, limits.maxKeysOfPlace),
    );
  });

  test('does not come with what was deleted, or was not there yet, when the copy was made', async () => {
    const [gone = '', late = ''] = ['k00001', 'k00001a'];
    await withStore(path, (db) => db.del(gone), shape);
    await new Keeping(path, dataDir, { by: 'copies' }).night();
    await withStore(path, (db) => db.put(late, storedUnder(late)), shape);
    flip(tablePath(), 100);
    const { finding } = await reported();
    const listed = finding.records?.keys.map(({ key }) => key) ?? [];
    assert.deepEqual([listed.includes(gone), listed.includes(late), listed.includes('k00002')], [false, false, true]);
  });

  test('names an older copy where the newest is damaged itself', async () => {
    const keeping = new Keeping(path, dataDir, { by: 'copies' });
    await keeping.night();
    const [oldest] = await keeping.ids();
    await withStore(path, (db) => db.put('k00001', storedUnder('new')), shape);
    await withStore(path, (db) => intoTables(db), shape);
    await keeping.night();
    const [newest = ''] = await keeping.ids();
    assert.notEqual(newest, oldest);
    const kept = join(dataDir, 'kept', 'main', newest);
    for (const name of filesEnding(kept, '.ldb.kept')) flip(join(kept, name), 100);
    for (const name of filesEnding(path, '.ldb')) flip(join(path, name), 100);
    const { finding } = await reported();
    assert.equal(finding.records?.snapshot, oldest);
    assert.ok(finding.records?.keys.every(({ lastGood }) => lastGood?.snapshot === oldest));
  });
});

describe('a bad block, of which no copy is kept', () => {
  test('comes with its range, and the report says that there is none', async () => {
    flip(tablePath(), 100);
    const { finding, text, page } = await reported();
    assert.equal(finding.records, null);
    assert.ok(finding.keyRange !== null && text.includes('keys from k00000 to'));
    assert.match(text, /no kept snapshot says which records are there/);
    assert.match(page, /No kept snapshot says which records are there/);
  });

  test('is one that snapshots share with the store', async () => {
    await new Keeping(path, dataDir, { by: 'links' }).night();
    flip(tablePath(), 100);
    const { finding } = await reported();
    assert.equal(finding.records, null);
  });
});

describe('keys in a range', () => {
  const list = (budget: number, from: string, to: string) => {
    const pacer = new Pacer(clock, async () => {}, undefined);
    const looking = new KeysInRanges(fsStoreFiles(path), pacer, { left: budget });
    return looking.list([{ from: Buffer.from(from), to: Buffer.from(to) }]);
  };

  test('are read no further than the budget goes, whatever the range claims', async () => {
    const [all, some, none] = [
      await list(1e9, '', '\uffff'),
      await list(20_000, '', '\uffff'),
      await list(10, '', '~'),
    ];
    assert.deepEqual([all[0]?.keys.map(String), all[0]?.isWhole], [keys, true]);
    assert.ok(some[0] && some[0].keys.length > 0 && some[0].keys.length < keys.length && !some[0].isWhole);
    assert.deepEqual(none, [{ keys: [], isWhole: false }]);
  });

  test('are held in memory no more than there is room for', async () => {
    const bytes = limits.keysOfPlacesHeldBytes / 4;
    await withStore(path, async (db) => {
      for (let nth = 0; nth < 6; nth++) await db.put(`l${nth}${'y'.repeat(bytes)}`, nth);
    });
    const [found] = await list(1e9, 'l', 'm');
    assert.deepEqual([found?.keys.length, found?.isWhole], [3, false]);
  });

  test('are those of each range, however ranges overlap, lie within each other or are turned round', async () => {
    const bound = fc.constantFrom('', 'j', ...keys.slice(0, 40), 'k00010x', 'k00599', 'l');
    const ranges = fc.array(fc.record({ from: bound, to: bound }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(ranges, async (wanted) => {
        const pacer = new Pacer(clock, async () => {}, undefined);
        const looking = new KeysInRanges(fsStoreFiles(path), pacer, { left: 1e9 });
        const found = await looking.list(
          wanted.map(({ from, to }) => ({ from: Buffer.from(from), to: Buffer.from(to) })),
        );
        assert.deepEqual(
          found.map((one) => one?.keys.map(String)),
          wanted.map(({ from, to }) => keys.filter((key) => from <= key && key <= to)),
        );
      }),
      { numRuns: 40 },
    );
  });

  test('leave the event loop its turns, also within one batch of a log', async () => {
    const other = join(folder, 'other');
    const operations = 5_000;
    await withStore(other, (db) =>
      db.batch(Array.from({ length: operations }, (_, nth) => ({ type: 'put', key: `k${nth}`, value: nth }))),
    );
    let [readings, rests] = [0, 0];
    // Every reading is a second after the one before, so a rest is due whenever it is asked.
    const slow = { now: clock.now, monotonicMs: () => 1_000 * readings++ };
    const counting = async () => void rests++;
    const looking = new KeysInRanges(fsStoreFiles(other), new Pacer(slow, counting, undefined), { left: 1e9 });
    const [found] = await looking.list([{ from: Buffer.from('k'), to: Buffer.from('l') }]);
    assert.deepEqual([found?.keys.length, found?.isWhole], [operations, true]);
    assert.ok(rests >= operations / 100, `${rests} rests`);
    rests = 0;
    const checker = new SigilChecker({ secrets: [secret] });
    const records = new CurrentRecords(fsStoreFiles(other), checker, new Pacer(slow, counting, undefined));
    assert.equal((await records.lookUp([Buffer.from('k7')])).get('k7')?.isPresent, true);
    assert.ok(rests >= operations / 100, `${rests} rests`);
  });
});
