import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { makeTemporaryFolder } from '../system.ts';
import { until } from '../until.ts';
import { type Fleet, running, scanIntervalMs, shown, startFleet, tearDown } from './fleet.ts';
import { entryWhere } from './waiting.ts';

/** A look every ten seconds, and what was raised is read before the next. */
const lookedMs = 60_000;
const folder = makeTemporaryFolder('sgw-ar-');
const alert = z.object({ key: z.string(), severity: z.string(), summary: z.string(), reason: z.string().nullable() });
let fleet: Fleet;

before(async () => {
  const collectorEnv = {
    SIGILWATCH_ALERTS_RULES_DRIFT_MS: '1000',
    SIGILWATCH_ALERTS_RULES_GAP_MS: '1',
    SIGILWATCH_ALERTS_RULES_OFF: 'node.silent',
  };
  fleet = await startFleet({ dir: folder.path, nodes: ['lyra'], wanted: ['web'], collectorEnv });
});
after(tearDown);

const alerts = () => fleet.collector.list('/api/v1/alerts?state=all', alert);
const stands = async (key: string) =>
  (await fleet.collector.list('/api/v1/alerts', alert)).some((row) => row.key === key);
const raised = async (key: string) =>
  (await fleet.collector.list('/api/v1/entries?author=collector&kind=alert.raised', shown.entry)).filter(
    ({ entry }) => entry.body.key === key,
  ).length;

test('drifts that last are one alert of their node, which a silence ends, and a restart does not raise again', async () => {
  const key = 'drift.unauthorized/lyra';
  const { api } = fleet.node('lyra');
  for (const name of ['rogue-1', 'rogue-2']) await api.run(running(name));
  await until('people are told', () => stands(key), lookedMs);
  assert.equal(await raised(key), 1);
  const { stdout } = await fleet.collector.cli('alerts', 'list');
  assert.match(stdout, /^critical\tdrift\.unauthorized\/lyra\t.*on lyra, .* not in the manifest: rogue-/m);
  await fleet.collector.restart();
  await api.run(running('rogue-3'));
  await entryWhere(fleet, { author: 'lyra', kind: 'drift.opened' }, (body) => /rogue-3/.test(JSON.stringify(body)));
  const { exitCode } = await fleet.collector.cli(
    ...['silence', 'add', '--node', 'lyra', '--for', '1h', '--reason', 'known'],
  );
  assert.equal(exitCode, 0);
  await until('it is over', async () => !(await stands(key)), lookedMs);
  assert.equal(await raised(key), 1);
  const ended = (await alerts()).find((row) => row.key === key);
  assert.equal(ended?.reason, 'it is not so any more');
});

test('minutes that nobody watched are told of once the agent is back, and reports say how full the disk is', async () => {
  const { agent } = fleet.node('lyra');
  const gaps = () => fleet.collector.list('/api/v1/entries?author=lyra&kind=coverage.gap', shown.entry);
  await agent.kill9();
  const killedAtMs = Date.now();
  await until('an interval is missed', () => Date.now() > killedAtMs + 2 * scanIntervalMs);
  await agent.restart();
  await until('the ledger has the gap', async () => (await gaps()).length > 0, lookedMs);
  await until('people are told', () => stands('coverage.lost/lyra'), lookedMs);
  const { disk } = await entryWhere(fleet, { author: 'lyra', kind: 'report' });
  const { freeBytes, totalBytes } = z.object({ freeBytes: z.number(), totalBytes: z.number() }).parse(disk);
  assert.ok(freeBytes > 0 && freeBytes <= totalBytes);
  assert.equal(await raised('node.silent/lyra'), 0);
});
