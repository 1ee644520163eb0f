import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { z } from 'zod';
import { freePort } from '../free-port.ts';
import { makeTemporaryFolder, startProgram } from '../system.ts';
import { until } from '../until.ts';
import { startFleet, tearDown } from './fleet.ts';

/** A real Prometheus that is told by a running collector where the agents are. */
const folder = makeTemporaryFolder('sgw-prometheus-');
after(tearDown);

const skip = spawnSync('prometheus', ['--version']).error ? 'prometheus is missing' : false;

const answer = z.object({
  data: z.object({
    result: z.array(z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) })),
  }),
});

async function query(url: string, expr: string): Promise<z.output<typeof answer>['data']['result']> {
  const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expr)}`).catch(() => undefined);
  return response?.status === 200 ? answer.parse(await response.json()).data.result : [];
}

function settingsFor(collector: { readonly url: string; readonly tokenFile: string }): string {
  const [, host = ''] = collector.url.split('//');
  // Prometheus 2.42 forgets the usual type where it asks for targets.
  const authorization = { type: 'Bearer', credentials_file: collector.tokenFile };
  return JSON.stringify({
    global: { scrape_interval: '1s' },
    scrape_configs: [
      { job_name: 'sigilwatch-collector', authorization, static_configs: [{ targets: [host] }] },
      {
        job_name: 'sigilwatch-agent',
        http_sd_configs: [{ url: `${collector.url}/sd/prometheus`, refresh_interval: '1s', authorization }],
      },
    ],
  });
}

test('Prometheus finds the agents by the collector, and one that is revoked no more', { skip }, async () => {
  const [port, nobodys] = [await freePort(), await freePort()];
  const fleet = await startFleet({
    ...{ dir: folder.path, nodes: ['lyra'], wanted: ['web'] },
    collectorEnv: {
      SIGILWATCH_MONITORING_AGENT_TARGET: `127.0.0.1:${port}`,
      SIGILWATCH_MONITORING_AGENT_TARGETS: JSON.stringify({ lyra: `127.0.0.1:${nobodys}` }),
    },
  });
  await fleet.add('node1', { env: { SIGILWATCH_HTTP_PORT: String(port) } });
  const { collector } = fleet;
  const dir = join(folder.path, 'prometheus');
  mkdirSync(dir);
  const token = await collector.cli('--json', 'tokens', 'create', 'prometheus', '--can', 'service.operate');
  const { secret } = z.object({ secret: z.string() }).parse(JSON.parse(token.stdout));
  const tokenFile = join(dir, 'token');
  writeFileSync(tokenFile, secret, { mode: 0o600 });
  writeFileSync(join(dir, 'prometheus.yml'), settingsFor({ url: collector.url, tokenFile }));
  const checked = spawnSync('promtool', ['check', 'config', join(dir, 'prometheus.yml')], { encoding: 'utf8' });
  assert.equal(checked.status, 0, checked.stderr);
  const own = await freePort();
  const url = `http://127.0.0.1:${own}`;
  startProgram({
    name: 'prometheus',
    command: 'prometheus',
    args: [
      `--config.file=${join(dir, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(dir, 'data')}`,
      `--web.listen-address=127.0.0.1:${own}`,
    ],
    env: {},
  });
  const found = async () =>
    (await query(url, 'up')).map(({ metric, value: [, up] }) => `${metric.job} ${metric.node ?? '-'} ${up}`).sort();
  const all = ['sigilwatch-agent lyra 0', 'sigilwatch-agent node1 1', 'sigilwatch-collector - 1'];
  await until('all are asked', async () => (await found()).join() === all.join(), 60_000);
  const [nodes] = await query(url, 'max(sigilwatch_collector_nodes{state="active"})');
  assert.equal(nodes?.value[1], '2');
  assert.equal((await query(url, 'sigilwatch_agent_engine_up{node="node1"} == 1')).length, 1);
  const revoked = await collector.cli('nodes', 'revoke', 'lyra', '--reason', 'given away');
  assert.equal(revoked.exitCode, 0, revoked.stderr);
  await until('it is left out', async () => (await query(url, 'up{job="sigilwatch-agent"}')).length === 1, 30_000);
});
