import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { stringify } from 'yaml';
import {
  alertingRules,
  dashboardExpressions,
  dashboards,
  metricsIn,
  pages,
  readDashboard,
  readText,
  root,
  rulesFile,
  rulesTestFile,
} from './files.ts';

const skip = spawnSync('promtool', ['--version']).error ? 'promtool is missing (package prometheus)' : false;

function promtool(...args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: root, encoding: 'utf8' });
  assert.equal(status, 0, `${stdout}${stderr}`);
}

describe('rules for Prometheus', () => {
  test('Prometheus takes them', { skip }, () => promtool('check', 'rules', rulesFile));

  test('in every scenario fires what should, and nothing beside it', { skip }, () =>
    promtool('test', 'rules', rulesTestFile),
  );

  test('there is a scenario in which each of them fires', () => {
    const scenarios = readText(rulesTestFile);
    const untried = alertingRules().filter(
      ({ name }) => !new RegExp(`alertname="?${name}"|alertname: ${name}$`, 'm').test(scenarios),
    );
    assert.deepEqual(
      untried.map(({ name }) => name),
      [],
    );
  });

  test('each has a severity, and leads to a page that there is', () => {
    for (const { name, severity, expr, runbook } of alertingRules()) {
      assert.ok(severity !== undefined || expr.startsWith('max by (severity)'), name);
      assert.ok(pages().includes(runbook.replace(/^docs\/runbook\//, '')), `${name}: ${runbook}`);
    }
  });
});

for (const file of dashboards) {
  describe(`${file} for Grafana`, () => {
    test('Prometheus takes every expression', { skip }, () => {
      const folder = mkdtempSync(join(tmpdir(), 'sigilwatch-dashboard-'));
      try {
        const rules = dashboardExpressions(file).map((expr, i) => ({ record: `panel:${i}`, expr }));
        const rulesOfPanels = join(folder, 'rules.yml');
        writeFileSync(rulesOfPanels, stringify({ groups: [{ name: 'panels', rules }] }));
        promtool('check', 'rules', rulesOfPanels);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });

    test('every panel has an id of its own and asks the data source that was chosen', () => {
      const { panels, templating } = readDashboard(file);
      assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
      const targets = panels.flatMap((panel) => panel.targets);
      const asked = new Set(targets.map(({ datasource }) => JSON.stringify(datasource)));
      const chosen = ['$', '{datasource}'].join('');
      assert.deepEqual([...asked], [JSON.stringify({ type: 'prometheus', uid: chosen })]);
      const variables = new Set(templating.list.map(({ name }) => name));
      const used = [...JSON.stringify(panels).matchAll(/\$\{?([a-z]\w*)/g)].map(([, name = '']) => name);
      for (const name of used) assert.ok(variables.has(name), name);
    });
  });
}

test('dashboards lead to each other', () => {
  for (const [file, other] of [dashboards, dashboards.toReversed()]) {
    assert.ok(file !== undefined && other !== undefined);
    assert.ok(readText(`docs/monitoring/${file}`).includes(`/d/${readDashboard(other).uid}`), file);
  }
});

test('of the fleet nothing is shown node by node but what is furthest out', () => {
  const byNode = dashboardExpressions('grafana-fleet.json').filter((expr) =>
    metricsIn(expr).some((m) => m.startsWith('sigilwatch_agent_')),
  );
  assert.ok(byNode.length > 10);
  for (const expr of byNode) assert.match(expr, /^\(?(topk|sum|max|min|count|histogram_quantile)\b/);
});

test('the reader of expressions finds every metric, and nothing else', () => {
  const found = metricsIn('sum by (a, b) (rate(x_total{c=~"d{e"}[5m])) / on (f) y_z > bool 0.1 or vector(0) unless up');
  assert.deepEqual(found, ['x_total', 'y_z', 'up']);
});
