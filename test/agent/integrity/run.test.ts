import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Level } from 'level';
import { takeRunLock } from '../../../agent/data/run-lock.ts';
import { type IntegrityReport, integrityReport } from '../../../common/integrity-report.ts';
import { makeSigilRecord } from '../../fakes/sigil-writer.ts';
import { agentCommand } from '../program.ts';
import { Nights } from '../sigils/inventory/inventories.ts';
import { tempFolder } from '../watching.ts';

const temp = tempFolder();
const dataDir = mkdtempSync(join(temp, 'data-'));
const reports = join(dataDir, 'reports');
const config = join(temp, 'agent.yaml');
const secret = 'hush';
let main: Level<string, unknown>;
let side: Level<string, unknown>;

before(async () => {
  // Both stay open, as their owners have them.
  main = new Level<string, unknown>(join(temp, 'main'), { valueEncoding: 'json' });
  side = new Level<string, unknown>(join(temp, 'side'), { valueEncoding: 'json' });
  for (const db of [main, side]) {
    for (let i = 0; i < 20; i++) {
      const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol: 'A', secret });
      await db.put(key, value);
    }
  }
  const stores = `{main: ${join(temp, 'main')}, side: ${join(temp, 'side')}}`;
  writeFileSync(config, `dataDir: ${dataDir}\nsigils: {stores: ${stores}, secrets: [${secret}]}\n`);
});
after(async () => {
  await main.close();
  await side.close();
});

const integrity = (...args: string[]) => agentCommand(['--config', config, 'integrity', ...args]);
async function run(...args: string[]): Promise<{ code: number | null; report: IntegrityReport }> {
  const { code, stdout, stderr } = await integrity('run', '--node', 'lyra', '--json', ...args);
  assert.equal(stderr, '');
  return { code, report: integrityReport.parse(JSON.parse(stdout)) };
}
const badKey = `lyra!sigil!BAD!${'ab'.repeat(32)}`;
async function spoil(): Promise<void> {
  const { value } = makeSigilRecord({ tenant: 'lyra', symbol: 'BAD', authHash: 'ab'.repeat(32), secret });
  await side.put(badKey, { ...value, checksum: '0'.repeat(64) });
}

describe('integrity run', () => {
  test('exits with 0 beside the owners of the stores when all is in order, and disturbs neither', async () => {
    const { code, report } = await run();
    assert.deepEqual([code, report.status, report.node], [0, 'ok', 'lyra']);
    assert.deepEqual(
      report.stores.map(({ store, status, counts }) => [store, status, counts?.sigils]),
      [
        ['main', 'ok', 20],
        ['side', 'ok', 20],
      ],
    );
    await main.put('still', 'mine');
    await main.del('still');
    assert.deepEqual(
      readdirSync(reports).filter((name) => name.endsWith('.json')),
      [`${report.id}.json`],
    );
  });

  test('compares with the inventory that the agent has taken, and leaves that as it is', async () => {
    const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol: 'GONE', secret });
    await main.put(key, value);
    const taken = await new Nights(join(temp, 'main'), dataDir).scan();
    assert.equal(taken.inventory?.keys, 21);
    const files = () =>
      readdirSync(join(dataDir, 'inventory')).map((name) => readFileSync(join(dataDir, 'inventory', name)));
    const before = files();
    await main.del(key);
    const { code, report } = await run('--store', 'main');
    assert.equal(code, 1);
    assert.deepEqual(
      report.stores[0]?.findings.map((finding) => [finding.check, finding.key]),
      [['vanished', key]],
    );
    assert.deepEqual(files(), before);
    await main.put(key, value);
    assert.equal((await run('--store', 'main')).code, 0);
    await main.del(key);
    rmSync(join(dataDir, 'inventory'), { recursive: true });
  });

  test('exits with 1 for findings, each with what was expected, and since when it is known', async () => {
    await spoil();
    const first = await run();
    const second = await run('--store', 'side');
    await side.del(badKey);
    assert.deepEqual([first.code, second.code, second.report.stores.length], [1, 1, 1]);
    const [found] = first.report.stores[1]?.findings ?? [];
    assert.deepEqual([found?.check, found?.key, found?.actual], ['checksum', badKey, '0'.repeat(64)]);
    assert.match(found?.expected ?? '', /^[0-9a-f]{64}$/);
    assert.equal(second.report.stores[0]?.findings[0]?.firstSeen, first.report.startedAt);
    assert.equal((await run()).code, 0);
  });

  test('exits with 2 when a store cannot be read, and tells of the others all the same', async () => {
    renameSync(join(temp, 'main'), join(temp, 'away'));
    await spoil();
    const { code, report } = await run();
    await side.del(badKey);
    renameSync(join(temp, 'away'), join(temp, 'main'));
    assert.deepEqual([code, report.status], [2, 'unchecked']);
    assert.deepEqual(
      report.stores.map(({ status, counts, error }) => [status, counts === null, error?.code]),
      [
        ['unchecked', true, 'store.missing'],
        ['findings', false, undefined],
      ],
    );
  });

  test('a store that the settings do not name is refused, and nothing is checked', async () => {
    const before = readdirSync(reports).length;
    const { code, stdout, stderr } = await integrity('run', '--store', 'main', '--store', 'mian');
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /"mian"; there is main, side/);
    assert.equal(readdirSync(reports).length, before);
  });

  test('refuses a number of threads that is none', async () => {
    for (const threads of ['0', '33', 'two', '1.5', '-1']) {
      const { code, stderr } = await integrity('run', '--threads', threads);
      assert.deepEqual([code, stderr.includes('a number from 1 to 32')], [2, true], threads);
    }
  });

  test('is refused while another run is under way', async () => {
    const giveBack = await takeRunLock(reports, 'integrity run');
    const { code, stderr } = await agentCommand(['--config', config, '--json', 'integrity', 'run']);
    await giveBack();
    assert.deepEqual([code, JSON.parse(stderr).error_code], [4, 'state.busy']);
    assert.equal((await run()).code, 0);
  });

  test('writes page and JSON where it is told to, and says when it cannot', async () => {
    const [html, json] = [join(temp, 'page.html'), join(temp, 'report.json')];
    const { report } = await run('--html', html, '--report', json);
    assert.deepEqual(integrityReport.parse(JSON.parse(readFileSync(json, 'utf8'))), report);
    assert.ok(readFileSync(html, 'utf8').includes(report.id));
    const lost = await integrity('run', '--html', join(temp, 'none', 'page.html'));
    assert.equal(lost.code, 4);
    assert.match(lost.stderr, /cannot write .*none\/page\.html: ENOENT/);
    assert.match(lost.stdout, /^store main: \d+ records/m);
  });

  test('a folder of reports that cannot be written is told of, and what was found is shown', async () => {
    const other = mkdtempSync(join(temp, 'data-'));
    writeFileSync(join(other, 'reports'), 'no folder');
    const { code, stderr } = await agentCommand(['--config', config, '--data-dir', other, 'integrity', 'run']);
    assert.equal(code, 4);
    assert.match(stderr, /cannot write .*reports: EEXIST/);
  });

  test('needs a store to check', async () => {
    const { code, stderr } = await agentCommand(['--data-dir', dataDir, 'integrity', 'run']);
    assert.equal(code, 2);
    assert.match(stderr, /name no sigil store/);
  });
});

describe('integrity reports and show', () => {
  test('lists what was archived, newest first, and names what is damaged', async () => {
    const { report } = await run();
    const damaged = `${report.id.slice(0, -8)}ffffffff.json`;
    writeFileSync(join(reports, damaged), '{');
    const { code, stdout, stderr } = await agentCommand(['--config', config, '--json', 'integrity', 'reports']);
    const ids = JSON.parse(stdout).reports.map(({ id }: { id: string }) => id);
    assert.deepEqual([code, ids[0], [...ids].sort().reverse()], [0, report.id, ids]);
    assert.ok(stderr.includes(damaged));
    assert.match(
      (await integrity('reports')).stdout,
      new RegExp(`^${report.id}  ok .*node lyra, 2 stores, 0 findings$`, 'm'),
    );
    const shown = await integrity('show', damaged.slice(0, -5));
    assert.deepEqual([shown.code, shown.stderr.includes('is damaged')], [2, true]);
  });

  test('shows one byte for byte, and as a page', async () => {
    const { report } = await run();
    const archived = readFileSync(join(reports, `${report.id}.json`), 'utf8');
    assert.equal((await integrity('show', report.id, '--json')).stdout, archived);
    const html = join(temp, 'shown.html');
    const { code, stdout } = await integrity('show', report.id, '--html', html);
    assert.deepEqual([code, existsSync(html)], [0, true]);
    assert.match(stdout, /^store side: \d+ records/m);
  });

  test('one that is not there, or whose name leads elsewhere, is not found', async () => {
    for (const id of ['20260101T020000000Z-00000000', '../../etc/passwd']) {
      const { code, stderr } = await integrity('show', id);
      assert.deepEqual([code, stderr.includes('not in the archive')], [2, true]);
    }
  });
});
