import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { conditionKeys, conditionsOf, type NodeFacts } from '../../../collector/alerts/conditions.ts';
import { limits } from '../../../common/limits.ts';

const nowMs = Date.parse('2026-03-01T10:00:00.000Z');
const digest = '0'.repeat(64);
const sound = {
  store: 'main',
  status: 'ok',
  findingsDigest: digest,
  openFindings: 0,
  checkedRecords: 9,
  error: null,
} as const;

function keysOf(facts: Partial<NodeFacts>, sinceMs = 0): readonly string[] {
  const conditions = conditionsOf({ node: 'lyra', heardAtMs: nowMs, report: null, ...facts }, { nowMs, sinceMs });
  for (const { key, summary } of conditions) {
    assert.ok(
      conditionKeys.some((ours) => key.startsWith(ours)),
      key,
    );
    assert.ok(summary.length <= limits.maxOwnTextChars);
  }
  return conditions.map(({ key }) => key);
}

describe('people hear of', () => {
  test('a node that is not heard any more, once somebody has listened for long enough', () => {
    const heardAtMs = nowMs - limits.alertNodeSilentMs;
    assert.deepEqual(keysOf({ heardAtMs: heardAtMs + 1 }), []);
    assert.deepEqual(keysOf({ heardAtMs }), ['node.silent/lyra']);
    assert.deepEqual(keysOf({ heardAtMs }, nowMs - 1), []);
  });

  test('what a node cannot look at, and of doubtful clocks', () => {
    const covered = (coverage: NonNullable<NodeFacts['report']>['coverage']) =>
      keysOf({ report: { coverage, stores: [] } });
    assert.deepEqual([covered('observed'), covered('late')], [[], []]);
    assert.deepEqual(covered('engine-down'), ['engine.down/lyra']);
    assert.deepEqual(covered('clock-suspect'), ['clock.suspect/lyra']);
  });

  test('findings, and stores that cannot be checked, each store by itself', () => {
    const stores = [
      sound,
      { ...sound, store: 'bad', status: 'findings', openFindings: 3 } as const,
      {
        ...sound,
        store: 'away',
        status: 'unreadable',
        openFindings: 1,
        error: 'x'.repeat(limits.maxOwnTextChars),
      } as const,
      { ...sound, store: 'new', status: 'pending' } as const,
    ];
    assert.deepEqual(keysOf({ report: { coverage: 'observed', stores } }), [
      'sigils.findings/lyra/bad',
      'sigils.unreadable/lyra/away',
    ]);
  });

  test('what stood when a node fell silent', () => {
    const stores = [{ ...sound, status: 'findings', openFindings: 1 } as const];
    assert.deepEqual(keysOf({ heardAtMs: 0, report: { coverage: 'observed', stores } }), [
      'node.silent/lyra',
      'sigils.findings/lyra/main',
    ]);
  });
});
