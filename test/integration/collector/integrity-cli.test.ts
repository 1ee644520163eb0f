import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { aloneInDatabase } from '../../../collector/postgres/integrity-store.ts';
import { collectedReport } from '../../../common/collected-report.ts';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { driftOpened, enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let folder: string;

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
  const lyra = await enrolDirectly(under.ledger, 'lyra');
  await say(under.ledger, 'lyra', lyra, [driftOpened('web', 'UNAUTHORIZED_CONTAINER')]);
  folder = await mkdtemp(join(tmpdir(), 'sigilwatch-reports-'));
});
after(async () => {
  await under.stop();
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});

function cli(...argv: string[]) {
  const { dataDir, database } = under.settings;
  const env = { SIGILWATCH_DATA_DIR: dataDir, DATABASE_URL: database.url ?? '' };
  return collectorCli(['integrity', ...argv], env);
}

test('a run by hand says 0, 1 or 2, leaves an entry, and its files are what was archived', async () => {
  const [html, json] = [join(folder, 'run.html'), join(folder, 'run.json')];
  const clean = await cli('run', '--html', html, '--report', json);
  assert.deepEqual([clean.code, clean.stderr], [0, '']);
  assert.match(clean.stdout, /^collector, .*: ok \(report .*\nledger .*: \d+ entries of 2 authors in order/);
  assert.match(await readFile(html, 'utf8'), /all in order/);
  const document = await readFile(json, 'utf8');
  const { items } = JSON.parse((await cli('reports', '--json', '--node', 'collector')).stdout);
  assert.deepEqual([items.length, items[0].sha256], [1, hash('sha256', document, 'hex')]);
  assert.equal((await cli('show', String(items[0].index), '--json')).stdout, document);

  await under.db.query(`update nodes set hostname = 'elsewhere'`);
  const found = await cli('run', '--json');
  assert.equal(found.code, 1);
  assert.equal(collectedReport.parse(JSON.parse(found.stdout)).ledger?.projections?.tables[1]?.differing, 1);
  await under.db.query('update nodes set hostname = null');
  const listed = await cli('reports', '--status', 'findings');
  assert.match(listed.stdout, /\tcollector\tfindings\t/);
});

test('a file that is there already is not overwritten, and the run is on record all the same', async () => {
  const html = join(folder, 'twice.html');
  assert.equal((await cli('run', '--html', html)).code, 0);
  const before = JSON.parse((await cli('reports', '--json')).stdout).items.length;
  assert.equal((await cli('run', '--html', html)).code, 4);
  assert.equal(JSON.parse((await cli('reports', '--json')).stdout).items.length, before + 1);
});

test('while another check is under way, one by hand is refused', async () => {
  const url = under.settings.database.url ?? '';
  const refused = await aloneInDatabase({ url, applicationName: 'test' })(() => cli('run'));
  assert.equal(refused?.code, 4);
  assert.match(refused?.stderr ?? '', /^state\.busy: another check/);
});

test('what nobody knows is refused', async () => {
  assert.equal((await cli('show', '4711')).code, 2);
  assert.equal((await cli('show', '../x')).code, 2);
  assert.equal((await cli('reports', '--status', 'fine')).code, 2);
});
