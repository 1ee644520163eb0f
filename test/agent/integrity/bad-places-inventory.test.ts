import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import { CurrentRecords } from '../../../agent/sigils/current-records.ts';
import { fsStoreFiles } from '../../../agent/sigils/fs-store-files.ts';
import { sigilsInRanges } from '../../../agent/sigils/inventory/sigils-in-ranges.ts';
import { Pacer } from '../../../agent/sigils/pacer.ts';
import { integrityReport, type ReportedFinding } from '../../../common/integrity-report.ts';
import { limits } from '../../../common/limits.ts';
import { SigilChecker } from '../../../common/sigil.ts';
import { foreignText } from '../../../common/sigil-text.ts';
import { agentCommand } from '../program.ts';
import { Nights, sigilAt, timeAt } from '../sigils/inventory/inventories.ts';
import { digests, Keeping } from '../sigils/kept/keeping.ts';
import { clock, filesEnding, flip, intoTables, type Store, secret, withStore } from '../sigils/stores.ts';
import { tempFolder } from '../watching.ts';

const temp = tempFolder();
/** Blocks of more sigils than are listed of one. */
const shape = { compression: false, blockSize: 16_384 };
/** What a page and a terminal could take for something else; before all others in the order of keys. */
const oddKey = sigilAt({ form: 'plain', id: "<script>\u001b[2J\u202e'" }, 1);
const oddTime = '<b>\u202e&';
const odd = { ...oddKey, value: { ...oddKey.value, updatedAt: oddTime } };
const sigils = [odd, ...Array.from({ length: 200 }, (_, nth) => sigilAt({ form: 'plain', id: `k${1000 + nth}` }, 1))];
const keys = sigils.map(({ key }) => key);
/** Is in no inventory. */
const other = { key: 'note:k1000', value: 'x' };
const pacer = new Pacer(clock, async () => {}, undefined);
let path: string;
let dataDir: string;
let config: string;
let nights: Nights;

beforeEach(async () => {
  const folder = mkdtempSync(join(temp, 'inventory-'));
  path = join(folder, 'db');
  dataDir = join(folder, 'data');
  config = join(folder, 'agent.yaml');
  nights = new Nights(path, dataDir);
  writeFileSync(config, `dataDir: ${dataDir}\nsigils: {stores: {main: ${path}}, secrets: [${secret}]}\n`);
  await change(async (db) => {
    await put(db, sigils);
    await intoTables(db);
  });
});

const change = (work: (db: Store) => Promise<void>) => withStore(path, work, shape);
const put = (db: Store, records: readonly { readonly key: string; readonly value: unknown }[]) =>
  db.batch(records.map(({ key, value }) => ({ type: 'put', key, value })));
const again = (nth: number, minute: number) => sigilAt({ form: 'plain', id: `k${1000 + nth}` }, minute);
const integrity = (...args: string[]) => agentCommand(['--config', config, 'integrity', ...args]);

/** Changes a byte of the first block, of the oldest table or of the newest. */
function damage(which: 'oldest' | 'newest' = 'oldest'): void {
  const name = filesEnding(path, '.ldb').at(which === 'oldest' ? 0 : -1) ?? assert.fail('there is no table');
  flip(join(path, name), 100);
}

async function reported() {
  const { stdout } = await integrity('run', '--node', 'lyra', '--json');
  const report = integrityReport.parse(JSON.parse(stdout));
  const finding = report.stores[0]?.findings.find(({ check }) => check === 'block_checksum');
  const page = join(dataDir, 'page.html');
  const { stdout: text } = await integrity('show', report.id, '--html', page);
  return { finding: finding ?? assert.fail('no bad block was found'), text, page: readFileSync(page, 'utf8') };
}

function recordsOf({ records }: ReportedFinding) {
  return records ?? assert.fail('nothing says which records are there');
}

/** Of the first block of the table, by what is known to have been written. */
function keysOf({ keyRange }: ReportedFinding): string[] {
  const to = keyRange?.to ?? assert.fail();
  return keys.filter((key) => foreignText(Buffer.from(key)) <= to);
}

describe('a bad block that no snapshot has whole', () => {
  test('comes with the sigils that the inventory has there, and what to do about them', async () => {
    await nights.scan();
    await new Keeping(path, dataDir, { by: 'links' }).night();
    damage();
    const before = { store: digests(path), inventory: digests(join(dataDir, 'inventory')) };
    const { finding, text, page } = await reported();
    const records = recordsOf(finding);
    const expected = keysOf(finding);
    assert.ok(expected.length > limits.maxKeysOfPlace && expected[0] === odd.key);
    assert.deepEqual(
      records.keys,
      expected.slice(0, limits.maxKeysOfPlace).map((key) => {
        const updatedAt = key === odd.key ? foreignText(Buffer.from(oddTime)) : timeAt(1);
        return { key: foreignText(Buffer.from(key)), lastGood: null, updatedAt };
      }),
    );
    const { by, snapshot, isWhole, moreKeys } = records;
    assert.deepEqual([by, snapshot, isWhole], ['inventory', null, true]);
    assert.equal(moreKeys, expected.length - limits.maxKeysOfPlace);
    assert.match(text, /sigils there, by the inventory of .*: *\n/);
    assert.ok(text.includes('bring them back from the application or a backup'));
    assert.ok(text.includes(`      ${expected[1]}, updated ${timeAt(1)}\n`) && text.includes(`and ${moreKeys} more`));
    assert.ok(page.includes('Sigils there, by the inventory of') && page.includes(`And ${moreKeys} more.`));
    assert.ok(!text.includes('restore it:') && !page.includes('restore it'));
    for (const raw of ['\u001b', '\u202e']) assert.ok(!text.includes(raw), raw);
    for (const raw of ['<script>', '<b>', '\u001b', '\u202e']) assert.ok(!page.includes(raw), raw);
    assert.deepEqual({ store: digests(path), inventory: digests(join(dataDir, 'inventory')) }, before);
  });

  test('comes with them night after night, though no full scan sees them any more', async () => {
    await nights.scan();
    damage();
    const first = recordsOf((await reported()).finding);
    for (let night = 0; night < 2; night++) {
      const result = await nights.scan();
      assert.deepEqual(result.inventory?.anew, null);
    }
    assert.deepEqual(recordsOf((await reported()).finding).keys, first.keys);
  });

  test('comes without those that were written anew since, or had gone before', async () => {
    const [gone, anew, older] = [again(3, 1), again(4, 9), again(5, 0)];
    await nights.scan();
    await change((db) => db.del(gone.key));
    await nights.scan();
    await change((db) => put(db, [anew, older]));
    damage();
    const listed = recordsOf((await reported()).finding).keys.map(({ key }) => key);
    assert.deepEqual(
      [gone, anew, older, again(6, 1)].map(({ key }) => listed.includes(key)),
      [false, false, true, true],
    );
  });

  test('says so when all of them can be read elsewhere', async () => {
    await change((db) => put(db, sigils));
    await nights.scan();
    damage();
    const { finding, text, page } = await reported();
    assert.deepEqual([recordsOf(finding).keys, recordsOf(finding).isWhole], [[], true]);
    assert.match(text, /sigils there, by the inventory of .*: none, all that it has in this range can be read/);
    assert.match(page, /none, all that it has in this range can be read in other places/);
  });

  test('comes with those of which only an older record can be read elsewhere', async () => {
    const newer = sigils.slice(1).map((_, nth) => again(nth, 5));
    await change((db) => put(db, newer));
    // What was in the log becomes a table of its own when the store is opened again.
    await change(async () => {});
    await nights.scan();
    damage('newest');
    const { keys: listed } = recordsOf((await reported()).finding);
    assert.deepEqual([listed[0]?.key, listed[0]?.updatedAt], [again(0, 5).key, timeAt(5)]);
  });
});

describe('a bad block that nothing knows the records of', () => {
  test('says so without an inventory, with one that is damaged, and with one that has nothing there', async () => {
    const isUnknown = async () => {
      const { finding, text, page } = await reported();
      assert.equal(finding.records, null);
      assert.match(text, /no kept snapshot says which records are there/);
      assert.match(page, /No kept snapshot says which records are there/);
    };
    damage();
    await isUnknown();
    await nights.scan();
    await isUnknown();
    damage();
    await nights.scan();
    damage();
    assert.ok(recordsOf((await reported()).finding).keys.length > 0);
    appendFileSync(nights.inventory, 'x');
    await isUnknown();
  });
});

describe('sigils of an inventory', () => {
  const ranges = (...bounds: readonly (readonly [string, string])[]) => {
    return bounds.map(([from, to]) => ({ from: Buffer.from(from), to: Buffer.from(to) }));
  };

  test('are found in every range that they are in, whatever the order of the ranges', async () => {
    await change((db) => put(db, [other]));
    await nights.scan();
    const asked = ranges(
      ['sigil:k1100', 'sigil:k1102'],
      ['', '\uffff'],
      ['z', 'zz'],
      ['sigil:k1000', 'sigil:k1001'],
      ['sigil:k1100', 'sigil:k1100'],
    );
    const { found } = (await sigilsInRanges(nights.inventory, 'main', asked, pacer)) ?? assert.fail();
    assert.deepEqual(
      found.map(({ sigils: there }) => there.map(({ key }) => String(key))),
      [keys.slice(101, 104), keys, [], keys.slice(1, 3), keys.slice(101, 102)],
    );
    assert.equal(await sigilsInRanges(join(dataDir, 'none'), 'main', asked, pacer), null);
  });

  test('are held in memory no more than there is room for', async () => {
    await nights.scan();
    const all = Array.from({ length: Math.ceil(limits.keysOfPlacesHeld / keys.length) + 1 }, () => ['', '~'] as const);
    const { found } = (await sigilsInRanges(nights.inventory, 'main', ranges(...all), pacer)) ?? assert.fail();
    const held = found.reduce((sum, { sigils: there }) => sum + there.length, 0);
    assert.equal(held, limits.keysOfPlacesHeld);
    assert.ok(found.some(({ isWhole }) => !isWhole));
  });
});

test('a look-up reads no more than its budget, and says which keys it has not looked for', async () => {
  const current = new CurrentRecords(fsStoreFiles(path), new SigilChecker({ secrets: [secret] }), pacer);
  const sought = keys.map((key) => Buffer.from(key));
  const looked = async (left: number) => {
    const found = await current.lookUp(sought, { left });
    const unread = [...current.unread];
    assert.ok(unread.every((key) => found.get(key)?.uncertain));
    return [unread.length, [...found.values()].filter(({ isPresent }) => isPresent).length];
  };
  assert.deepEqual(await looked(10), [keys.length, 0]);
  const [unread = 0, read = 0] = await looked(100_000);
  assert.ok(unread > 0 && read > 0 && unread + read === keys.length, `${unread} and ${read}`);
  assert.deepEqual(await looked(Number.POSITIVE_INFINITY), [0, keys.length]);
});
