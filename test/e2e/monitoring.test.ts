import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { alertingRules, dashboardExpressions, metricsIn, readDashboard } from '../monitoring/files.ts';
import { makeTemporaryFolder } from '../system.ts';
import { type Fleet, startFleet, tearDown } from './fleet.ts';

/** A collector and an agent as they run, asked as Prometheus asks them. */
const folder = makeTemporaryFolder('sgw-monitoring-');
let fleet: Fleet;

before(async () => {
  fleet = await startFleet({ dir: folder.path, nodes: ['lyra'], wanted: ['web'] });
});
after(tearDown);

/** Prometheus' own. */
const foreign = new Set(['up', 'ALERTS']);

/** Names of the series that a metric of this type is stored as. */
function seriesOf(name: string, type: string): string[] {
  return type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
}

async function scrape(url: string, headers: Record<string, string> = {}): Promise<string[]> {
  const response = await fetch(`${url}/metrics`, { headers });
  assert.equal(response.status, 200);
  const types = (await response.text()).matchAll(/^# TYPE (\S+) (\S+)$/gm);
  return [...types].flatMap(([, name = '', type = '']) => seriesOf(name, type));
}

test('rules and dashboard ask for nothing but what agents and collector expose', async () => {
  const { url, operatorToken } = fleet.collector;
  const collector = await scrape(url, { authorization: `Bearer ${operatorToken}` });
  const exposed = new Set([...collector, ...(await scrape(fleet.node('lyra').agent.url)), ...foreign]);
  const variables = readDashboard().templating.list.flatMap(({ definition }) =>
    (definition ?? '').replace(/^label_values\(([^,]*),.*\)$/, '$1'),
  );
  const asked = [...alertingRules().map(({ expr }) => expr), ...dashboardExpressions(), ...variables].flatMap(
    metricsIn,
  );
  assert.ok(asked.length > 80, String(asked.length));
  assert.deepEqual(
    asked.filter((name) => !exposed.has(name)),
    [],
  );
});
