import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type FleetRepository, fleetRepository, missing } from '../../agent/desired-world.ts';
import { tempFolder } from '../../agent/watching.ts';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';

const temp = tempFolder();
const skip = missing('git');
let postgres: TestPostgres;
let under: TestCollector;
let fleet: FleetRepository;
let tokenFile: string;

before(async () => {
  if (skip !== false) return;
  fleet = fleetRepository(mkdtempSync(join(temp, 'fleet-')));
  fleet.commit('containers: []\n');
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase(), { SIGILWATCH_MANIFEST_REPOSITORY: fleet.dir });
  tokenFile = join(temp, 'token');
  writeFileSync(tokenFile, `${under.token}\n`);
});
after(async () => {
  await under?.stop();
  await postgres?.stop();
});

const refresh = (...more: readonly string[]) =>
  collectorCli(['desired', 'refresh', '--token-file', tokenFile, '--server', under.collector.url, ...more]);

describe('the running collector looks at its repository when it is told to', { skip }, () => {
  test('and not with a file that holds no token, of which nothing is shown', async () => {
    const other = join(temp, 'id_key');
    for (const text of ['', '-----BEGIN KEY-----\nhush\n-----END KEY-----\n']) {
      writeFileSync(other, text);
      const { code, stderr } = await refresh('--token-file', other);
      assert.equal(code, 2);
      assert.match(stderr, /validation\.request: .*id_key holds something else than one token/);
      assert.doesNotMatch(stderr, /hush/);
    }
  });

  test('and says what came of it: nothing new, a new commit, or file, line and reason', async () => {
    const first = await refresh();
    assert.deepEqual([first.code, first.stderr], [0, '']);
    assert.match(first.stdout, /^unchanged: [0-9a-f]{40} is in force\n$/);
    const next = fleet.commit('containers: [{name: web, image: x}]\n');
    assert.deepEqual(await refresh(), { code: 0, stdout: `adopted ${next}\n`, stderr: '' });
    const bad = fleet.commit('containers:\n  - {name: web}\n');
    for (const time of ['first', 'again']) {
      const { code, stdout } = await refresh();
      assert.equal(code, 1, time);
      assert.match(
        stdout,
        new RegExp(`^refused ${bad}: bloodline_manifest\\.yaml:2:\\d+: .*image.*\n${next} stays in force\n$`),
      );
    }
    const { stdout } = await refresh('--json');
    assert.equal(JSON.parse(stdout).in_force, next);
  });

  test('for an operator alone', async () => {
    const url = `${under.collector.url}/api/v1/desired/refresh`;
    assert.equal((await fetch(url, { method: 'POST' })).status, 401);
    writeFileSync(tokenFile, 'not-the-token');
    const { code, stderr } = await refresh();
    assert.equal(code, 3);
    assert.match(stderr, /^auth\.token: /);
    writeFileSync(tokenFile, under.token);
  });

  test('without --server, at the address of the settings, with the token of the environment', async () => {
    const port = new URL(under.collector.url).port;
    const here = { SIGILWATCH_DATA_DIR: under.settings.dataDir, SIGILWATCH_HTTP_PORT: port };
    const signedIn = await collectorCli(['desired', 'refresh'], { ...here, SIGILWATCH_TOKEN: under.token });
    assert.equal(signedIn.code, 1, 'what is there is still refused');
    const unknown = await collectorCli(['desired', 'refresh'], here);
    assert.equal(unknown.code, 3);
    assert.match(unknown.stderr, /^auth\.required: not signed in to http:\/\/127\.0\.0\.1:/);
  });

  test('where there is one to follow, and one that runs', async () => {
    const idle = await startTestCollector(await postgres.emptyDatabase());
    try {
      const headers = { Authorization: `Bearer ${idle.token}` };
      const answer = await fetch(`${idle.collector.url}/api/v1/desired/refresh`, { method: 'POST', headers });
      assert.equal(answer.status, 409);
    } finally {
      await idle.stop();
    }
    const { stderr } = await refresh('--server', idle.collector.url);
    assert.match(stderr, /^collector\.unreachable: /);
  });
});
