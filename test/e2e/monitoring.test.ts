import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { boundedLabels, type Exposed, readExposed } from '../monitoring/exposed.ts';
import { alertingRules, dashboardExpressions, dashboards, metricsIn, readDashboard } from '../monitoring/files.ts';
import { makeTemporaryFolder } from '../system.ts';
import { type Fleet, startFleet, tearDown } from './fleet.ts';

/** A collector and an agent as they run, asked as Prometheus asks them. */
const folder = makeTemporaryFolder('sgw-monitoring-');
let fleet: Fleet;

before(async () => {
  fleet = await startFleet({ dir: folder.path, nodes: ['lyra'], wanted: ['web'] });
});
after(tearDown);

const skip = spawnSync('promtool', ['--version']).error ? 'promtool is missing (package prometheus)' : false;

/** Prometheus' own. */
const foreign = new Set(['up', 'ALERTS']);

async function scrape(url: string, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(`${url}/metrics`, { headers });
  assert.equal(response.status, 200);
  return response.text();
}

const ofCollector = () => scrape(fleet.collector.url, { authorization: `Bearer ${fleet.collector.token}` });
const ofAgent = () => scrape(fleet.node('lyra').agent.url);

/** Names of the series that a metric is stored as. */
function seriesOf({ name, type }: Exposed): string[] {
  return type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
}

test('rules and dashboards ask for nothing but what agents and collector expose', async () => {
  const series = [await ofCollector(), await ofAgent()].flatMap(readExposed).flatMap(seriesOf);
  const exposed = new Set([...series, ...foreign]);
  const variables = dashboards
    .flatMap((file) => readDashboard(file).templating.list)
    .flatMap(({ definition }) => (definition ?? '').replace(/^label_values\(([^,]*),.*\)$/, '$1'));
  const expressions = [...alertingRules().map(({ expr }) => expr), ...dashboards.flatMap(dashboardExpressions)];
  const asked = [...expressions, ...variables].flatMap(metricsIn);
  assert.ok(asked.length > 120, String(asked.length));
  assert.deepEqual(
    asked.filter((name) => !exposed.has(name)),
    [],
  );
});

for (const [program, text] of [
  ['the collector', ofCollector],
  ['an agent', ofAgent],
] as const) {
  describe(`the metrics of ${program}`, () => {
    test('promtool finds nothing against them', { skip }, async () => {
      const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
        input: await text(),
        encoding: 'utf8',
      });
      assert.deepEqual([status, `${stdout}${stderr}`], [0, '']);
    });

    test('have names that say whose they are, what they count and in which unit', async () => {
      for (const { name, type } of readExposed(await text())) {
        assert.match(name, /^(sigilwatch_(agent|collector)|sigil_integrity|process|nodejs)_[a-z0-9_]+$/);
        assert.equal(name.endsWith('_total'), type === 'counter', name);
        assert.doesNotMatch(name, /_(ms|milliseconds|minutes|hours|kb|mb|percent)(_|$)/, name);
      }
    });

    test('have no label whose values are without bound', async () => {
      for (const { name, samples } of readExposed(await text())) {
        for (const label of new Set(samples.flatMap(({ labels }) => Object.keys(labels)))) {
          const bound = boundedLabels[label];
          assert.ok(bound !== undefined, `${name} has the label ${label}: how many values can it have?`);
          const values = new Set(samples.map(({ labels }) => labels[label]));
          assert.ok(values.size <= bound, `${name} has ${values.size} values of ${label}`);
        }
      }
    });
  });
}

test('whoever asks for what there is not, by any method, adds no series for each', async () => {
  const strange = async (i: number): Promise<void> => {
    const { url } = fleet.collector;
    await fetch(`${url}/nothing/${i}`).then((answer) => answer.arrayBuffer());
    await fetch(`${url}/api/v1/orders/${i}`, { method: `STRANGE${i}` }).then((answer) => answer.arrayBuffer());
  };
  const count = async () => readExposed(await ofCollector()).reduce((all, { samples }) => all + samples.length, 0);
  await strange(0);
  const before = await count();
  for (let i = 1; i <= 30; i++) await strange(i);
  const grown = (await count()) - before;
  assert.ok(grown < 30, `${grown} series more`);
});
