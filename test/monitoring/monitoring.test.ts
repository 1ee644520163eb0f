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

describe('the dashboard for Grafana', () => {
  test('Prometheus takes every expression', { skip }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'sigilwatch-dashboard-'));
    try {
      const rules = dashboardExpressions().map((expr, i) => ({ record: `panel:${i}`, expr }));
      const file = join(folder, 'rules.yml');
      writeFileSync(file, stringify({ groups: [{ name: 'panels', rules }] }));
      promtool('check', 'rules', file);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('every panel has an id of its own and asks the data source that was chosen', () => {
    const { panels, templating } = readDashboard();
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    const asked = new Set(panels.flatMap(({ targets }) => targets.map(({ datasource }) => JSON.stringify(datasource))));
    const chosen = ['$', '{datasource}'].join('');
    assert.deepEqual([...asked], [JSON.stringify({ type: 'prometheus', uid: chosen })]);
    const variables = new Set(templating.list.map(({ name }) => name));
    const used = [...JSON.stringify(panels).matchAll(/\$\{?([a-z]\w*)/g)].map(([, name = '']) => name);
    for (const name of used) assert.ok(variables.has(name), name);
  });
});

test('the reader of expressions finds every metric, and nothing else', () => {
  const found = metricsIn('sum by (a, b) (rate(x_total{c=~"d{e"}[5m])) / on (f) y_z > bool 0.1 or vector(0) unless up');
  assert.deepEqual(found, ['x_total', 'y_z', 'up']);
});
