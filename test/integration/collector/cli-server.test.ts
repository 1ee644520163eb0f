import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { driftOpened, enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let nowhere: string;
let url: string;

before(async () => {
  postgres = await startPostgres();
  url = await postgres.emptyDatabase();
  under = await startTestCollector(url);
  const lyra = await enrolDirectly(under.ledger, 'lyra');
  const drifts = ['web', 'job', 'rogue'].map((name) => driftOpened(name, 'UNAUTHORIZED_CONTAINER'));
  await say(under.ledger, 'lyra', lyra, drifts);
  nowhere = await mkdtemp(join(tmpdir(), 'sigilwatch-nowhere-'));
});
after(async () => {
  await under.stop();
  await postgres.stop();
  await rm(nowhere, { recursive: true, force: true });
});

/** From elsewhere: no data directory, no database. */
const asking = (token: string, ...argv: readonly string[]) =>
  collectorCli([...argv, '--server', under.collector.url], { SIGILWATCH_TOKEN: token, SIGILWATCH_DATA_DIR: nowhere });

const here = (...argv: readonly string[]) =>
  collectorCli(argv, { DATABASE_URL: url, SIGILWATCH_DATA_DIR: under.settings.dataDir });

test('every look answers the same from elsewhere as on the data directory', async () => {
  const looks = [
    ...['nodes list', 'containers list', 'findings list', 'drifts list', 'drifts list --all', 'orders list'],
    ...['entries list --kind drift.opened', 'entries list --author lyra --limit 2', 'fleet show --size 3'],
    ...['alerts list --state all', 'alerts silences', 'alerts dead', 'silence list', 'changes list'],
    ...['enforcement show', 'integrity reports', 'witnesses list', 'witnesses pins', 'stats show'],
    ...['enforcements list', 'dead-letters list', 'breakers list', 'governance status'],
  ];
  for (const look of looks) {
    for (const form of [[], ['--json']]) {
      const words = [...look.split(' '), ...form];
      const [remote, local] = [await asking(under.token, ...words), await here(...words)];
      assert.deepEqual([remote.code, remote.stdout, remote.stderr], [0, local.stdout, local.stderr], words.join(' '));
    }
  }
});

test('deeds are done, and go on record with who did them', async () => {
  const does = async (...argv: readonly string[]) => {
    const { code, stdout, stderr } = await asking(under.token, ...argv, '--json');
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const { id } = await does('silence', 'add', '--container', 'web', '--for', '1h', '--reason', 'x');
  assert.equal((await does('silence', 'list')).items[0].id, id);
  assert.equal((await does('silence', 'end', id.slice(0, 8))).ended, true);
  const made = await does('alerts', 'silence', 'drift.*', '--for', '1h', '--reason', 'x');
  assert.equal((await does('alerts', 'unsilence', made.id)).ended, true);
  assert.match((await does('nodes', 'token', 'vega')).token, /^swj_/);
  const { items } = await does('entries', 'list', '--kind', 'drift.silenced');
  assert.notEqual(items[0].entry.body.actor, 'local');
});

test('exit codes tell apart what a collector refuses', async () => {
  const expected: readonly (readonly [code: number, token: string, argv: readonly string[]])[] = [
    [0, under.token, ['drifts', 'list']],
    [3, '', ['drifts', 'list']],
    [3, 'swk_wrong', ['drifts', 'list']],
    [2, under.token, ['drifts', 'show', '999999']],
    [2, under.token, ['integrity', 'show', '999999']],
    [2, under.token, ['fleet', 'show', '--node', 'nobody']],
    [2, under.token, ['fleet', 'show', '--size', '999999']],
    [2, under.token, ['silence', 'add', '--for', '1h', '--reason', 'x']],
    [2, under.token, ['drifts', 'list', '--kind', 'NO_SUCH']],
    [2, under.token, ['alerts', 'retry', '999999']],
    [4, under.token, ['desired', 'refresh']],
    [2, under.token, ['ledger', 'export']],
  ];
  for (const [code, token, argv] of expected) {
    const said = await asking(token, ...argv);
    assert.deepEqual(
      [said.code, said.stdout],
      [code, code === 0 ? said.stdout : ''],
      `${argv.join(' ')}: ${said.stderr}`,
    );
  }
});
