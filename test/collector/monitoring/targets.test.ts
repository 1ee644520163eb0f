import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monitoringSettings } from '../../../collector/monitoring/settings.ts';
import { agentTargets } from '../../../collector/monitoring/targets.ts';

test('every node is reached by its name, unless the settings say another address', () => {
  const settings = monitoringSettings.parse({
    agentTarget: '{node}.fleet.example.org:7601',
    agentTargets: { node1: '10.0.0.11:7601', node2: '[fd00::2]:7601' },
  });
  assert.deepEqual(
    agentTargets(['lyra', 'node1', 'node2'], settings).map(({ targets, labels }) => [
      labels.job,
      labels.node,
      ...targets,
    ]),
    [
      ['sigilwatch-agent', 'lyra', 'lyra.fleet.example.org:7601'],
      ['sigilwatch-agent', 'node1', '10.0.0.11:7601'],
      ['sigilwatch-agent', 'node2', '[fd00::2]:7601'],
    ],
  );
  assert.deepEqual(agentTargets(['lyra'], monitoringSettings.parse({}))[0]?.targets, ['lyra:7601']);
});

test('an address is a host and a port, and nothing that could be read as more', () => {
  for (const agentTarget of [
    '{node}',
    'http://{node}:7601',
    '{node}:7601/x',
    '{node}:99999',
    'a b:1',
    '{other}:7601',
  ]) {
    assert.equal(monitoringSettings.safeParse({ agentTarget }).success, false, agentTarget);
  }
});
