import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { containerOf, drifted, hashOf, observed } from './artifact-world.ts';
import { enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let folder: string;
let env: Record<string, string>;

before(async () => {
  postgres = await startPostgres();
  const url = await postgres.emptyDatabase();
  under = await startTestCollector(url, { SIGILWATCH_ARTIFACTS_SCORING_INTERVAL_MS: '86400000' });
  env = { DATABASE_URL: url, SIGILWATCH_DATA_DIR: under.settings.dataDir };
  folder = await mkdtemp(join(tmpdir(), 'sigilwatch-artifacts-'));
  await writeFile(join(folder, 'app.bin'), 'app');
  await writeFile(join(folder, 'lineage.json'), '{"commit":"c1","builder":"ci","image_id":"placed below"}');
  const lyra = await enrolDirectly(under.ledger, 'lyra');
  await say(under.ledger, 'lyra', lyra, [
    observed(containerOf('web', { id: hashOf('app') })),
    drifted('web', 'CONFIG_DRIFT', 'm1'),
  ]);
});
after(async () => {
  await under.stop();
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});

const cli = (...argv: string[]) => collectorCli(argv, env);
const file = (name: string) => join(folder, name);
const register = (...more: string[]) => cli('artifact', 'hash', file('app.bin'), '--register', ...more);

describe('the commands about artifacts', () => {
  test('register what they hash, once, and sweep, list, show and explain it', async () => {
    const { code, stdout } = await register('--name', 'api', '--lineage', file('lineage.json'));
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`^sha256:${hashOf('app')} .*\non record since .*, entry \\d+\n$`));
    assert.equal((await register('--name', 'api', '--lineage', file('lineage.json'))).stdout, stdout);
    assert.equal((await cli('sweep', '--once')).stdout, '1 looked at, 1 scored, 0 enforcements asked for\n');
    assert.equal((await cli('sweep', '--once')).stdout, '0 looked at, 0 scored, 0 enforcements asked for\n');
    const [id, , kind, name, score, commit] = (await cli('artifact', 'list', '--commit', 'c1')).stdout
      .trim()
      .split('\t');
    assert.deepEqual([id, kind, name, commit], [hashOf('app'), 'file', 'api', 'c1']);
    const shown = (await cli('artifact', 'show', hashOf('app'))).stdout;
    assert.match(shown, new RegExp(`score ${score}, of .*\n  drift       0\\.5 `));
    const explained = await cli('explain', 'web');
    for (const line of [
      /^container web on lyra: running$/m,
      /^artifact [0-9a-f]{64} \(api\), score 0\.\d+$/m,
      /^ {2}runs {7}web on lyra: running$/m,
      /^manifest commit m1: no adoption of it is known$/m,
      /entry \d+ {2}collector {2}artifact\.registered: local registered api: from commit c1, built by ci, without a signature$/m,
      /entry \d+ {2}lyra {2}drift\.opened: CONFIG_DRIFT$/m,
    ]) {
      assert.match(explained.stdout, line);
    }
    assert.equal((await cli('explain', hashOf('app'))).stdout, explained.stdout);
  });

  test('refuse what cannot be meant, before anything is on record', async () => {
    await writeFile(file('deep.json'), `${'{"a":'.repeat(100)}1${'}'.repeat(100)}`);
    await writeFile(file('broken.json'), '{');
    const before = (await under.ledger.checkpoint()).size;
    for (const argv of [
      ['artifact', 'hash', file('app.bin'), '--name', 'x'],
      ['artifact', 'hash', file('app.bin'), '--register', '--lineage', file('deep.json')],
      ['artifact', 'hash', file('app.bin'), '--register', '--lineage', file('broken.json')],
      ['artifact', 'hash', file('app.bin'), '--register', '--lineage', file('missing.json')],
      ['artifact', 'show', 'latest'],
      ['artifact', 'show', hashOf('never')],
      ['artifact', 'list', '--score-below', '2'],
      ['explain', 'never'],
      ['sweep'],
    ]) {
      const { code, stdout } = await cli(...argv);
      assert.deepEqual([code, stdout], [2, ''], argv.join(' '));
    }
    assert.equal((await under.ledger.checkpoint()).size, before);
  });
});
