import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { until } from '../../until.ts';
import { hashOf } from './artifact-world.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';
import { listening, webhookSecret } from './jobs-world.ts';

let postgres: TestPostgres;
let receiver: Awaited<ReturnType<typeof listening>>;
let under: TestCollector;
let status = 503;
let env: Record<string, string>;

before(async () => {
  postgres = await startPostgres();
  receiver = await listening((_request, response) => response.writeHead(status).end('\u001b[2Jno'));
  const url = await postgres.emptyDatabase();
  const settings = {
    SIGILWATCH_JOBS_WEBHOOK_SECRET: webhookSecret,
    SIGILWATCH_JOBS_WEBHOOK_ALLOWED_ADDRESSES: '127.0.0.0/8',
    SIGILWATCH_JOBS_ATTEMPTS: '1',
  };
  under = await startTestCollector(url, settings);
  env = { DATABASE_URL: url, SIGILWATCH_DATA_DIR: under.settings.dataDir, ...settings };
  const body = { id: hashOf('app'), name: 'app', kind: null, lineage: {}, driftScore: null, scorecardScore: null };
  await under.ledger.record({ kind: 'artifact.registered', body: { ...body, actor: 'user:ada' } });
});
after(async () => {
  await under.stop();
  await receiver.close();
  await postgres.stop();
});

const cli = (...argv: string[]) => collectorCli(argv, env);

async function said(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli(...argv);
  assert.equal(code, 0, stderr);
  return stdout;
}

const keysOf = (json: string) =>
  z
    .object({ items: z.array(z.object({ key: z.string() })) })
    .parse(JSON.parse(json))
    .items.map(({ key }) => key)
    .join('\n');

async function metricsText(): Promise<string> {
  const headers = { Authorization: `Bearer ${under.token}` };
  return (await fetch(`${under.collector.url}/metrics`, { headers })).text();
}

const request = (...more: string[]) =>
  cli('enforcements', 'request', '--artifact', `sha256:${hashOf('app')}`, '--action', 'webhook_alert', ...more);

async function ended(id: string): Promise<void> {
  await until('the enforcement has ended', async () => {
    const { status: stands } = JSON.parse(await said('enforcements', 'show', id, '--json'));
    return stands === 'done' || stands === 'failed';
  });
}

test('an enforcement is asked for, shown, dead, tried again and resolved by commands', async () => {
  const { code, stdout } = await request('--target', `${receiver.url}/hook`, '--reason', 'somebody should look');
  assert.equal(code, 0);
  const [, id = ''] = /^enforcement ([0-9a-f]{64}): pending\n$/.exec(stdout) ?? [];
  await ended(id);
  const [listed = ''] = (await said('enforcements', 'list', '--artifact', hashOf('app'), '--status', 'failed')).split(
    '\n',
  );
  assert.deepEqual(listed.split('\t').toSpliced(1, 1), [
    id,
    'webhook_alert',
    `${receiver.url}/hook`,
    'failed',
    'local',
    hashOf('app'),
    listed.split('\t').at(-1),
  ]);
  assert.match(listed, /HTTP 503/);
  assert.ok(!listed.includes('\u001b'));
  const story = await said('enforcements', 'show', id);
  assert.match(story, /asked by {5}local: somebody should look\n/);
  assert.match(story, /entry \d+: asked for by local\n.* try 1: failed: .*HTTP 503.*\n.*entry \d+: failed\n$/);

  await until(
    'somebody is told',
    async () => /^jobs\.dead_letters\/webhook_alert/m.test(await said('alerts', 'list', '--json').then(keysOf)),
    45_000,
  );
  const metrics = await metricsText();
  for (const line of [
    'job_dead_letters{action="webhook_alert"} 1',
    'job_runs_total{action="webhook_alert",outcome="failed"} 1',
    'job_results_total{action="webhook_alert",outcome="failed"} 1',
    `breaker_state{service="webhook:${new URL(receiver.url).host}",state="closed"} 1`,
  ]) {
    assert.ok(metrics.includes(`\nsigilwatch_collector_${line}\n`), line);
  }
  assert.match(await said('dead-letters', 'list'), new RegExp(`^${id}\t.*\t-\t.*HTTP 503`));
  assert.match(await said('dead-letters', 'show', id), /waits for somebody/);
  const [, again = ''] = /^enforcement ([0-9a-f]{64})/.exec(await said('dead-letters', 'retry', id)) ?? [];
  await ended(again);
  assert.match(await said('dead-letters', 'show', id), new RegExp(`tried again as ${again}, by local`));
  assert.equal((await cli('dead-letters', 'retry', id)).code, 4);
  assert.match(
    await said('dead-letters', 'resolve', again, '--reason', 'nobody reads it'),
    /resolved: nobody reads it/,
  );
  assert.equal(await said('dead-letters', 'list'), '');
  assert.equal((await said('dead-letters', 'list', '--state', 'followed')).trim().split('\n').length, 2);

  const service = `webhook:${new URL(receiver.url).host}`;
  assert.match(await said('breakers', 'list'), new RegExp(`^${service}\tclosed\t-\t2\t2\t0\t0\t`));
  assert.equal(await said('breakers', 'reset', service), `${service}: closed\n`);
  assert.equal(await said('governance', 'status'), 'no manifest is in force: nothing is ordered\n');
});

test('what cannot be done says why, with the exit code of it', async () => {
  status = 200;
  assert.equal((await request('--target', 'ftp://x.example/')).code, 2);
  assert.equal((await cli('enforcements', 'show', hashOf('none'))).code, 2);
  const pin = ['--artifact', hashOf('app'), '--action', 'pin_arweave', '--target', 'x'];
  const refused = await cli('enforcements', 'request', ...pin);
  assert.equal(refused.code, 4);
  assert.match(refused.stderr, /^state\.conflict: pin_arweave is not set up/);
  assert.equal(
    (await cli('enforcements', 'request', '--artifact', 'x', '--action', 'pin_arweave', '--target', 'x')).code,
    2,
  );
});
