import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  freezeStatements,
  laterOf,
  type Rollout,
  settledAt,
  suspicionOf,
} from '../../../collector/enforcement/freeze.ts';
import type { DriftKind } from '../../../common/drift-kind.ts';
import { statementSchema } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { commit, nowMs } from './situations.ts';

const settlingMs = 15_000;

/** Nodes that adopted the commit so many milliseconds after the collector, clocks alike. */
function rolloutOf(after: Readonly<Record<string, number>>, others: Partial<Rollout> = {}): Rollout {
  const adoptions = Object.entries(after).map(([node, ms]) => ({ node, atMs: nowMs + ms, seenMs: nowMs + ms }));
  return { commit, adoptedAtMs: nowMs, settlingMs, freezeNodes: 2, adoptions, ...others };
}

const drift = (node: string, afterMs: number, kind: DriftKind = 'IMAGE_DRIFT') => ({
  ...{ node, kind, openedAtMs: nowMs + afterMs },
});

describe('a commit is suspected', () => {
  const rollout = rolloutOf({ node1: 0, node2: 9_000, node3: 12_000 });

  test('when as many nodes as the manifest says drift alike while they settle, seconds apart as they may be', () => {
    const drifts = [drift('node2', 23_999), drift('node1', 100)];
    assert.deepEqual(suspicionOf(rollout, drifts), { drift: 'IMAGE_DRIFT', nodes: ['node1', 'node2'] });
    assert.equal(suspicionOf({ ...rollout, freezeNodes: 3 }, drifts), undefined);
  });

  test('and not otherwise', () => {
    assert.equal(suspicionOf(rollout, [drift('node1', 1), drift('node1', 2)]), undefined, 'one node');
    assert.equal(
      suspicionOf(rollout, [drift('node1', 1), drift('node2', 9_001, 'CONFIG_DRIFT')]),
      undefined,
      'not alike',
    );
    assert.equal(suspicionOf(rollout, [drift('node1', 1), drift('node2', 8_999)]), undefined, 'before it adopted it');
    assert.equal(suspicionOf(rollout, [drift('node1', 15_000), drift('node2', 9_001)]), undefined, 'long after');
    assert.equal(
      suspicionOf(rollout, [drift('node1', 1), drift('lyra', 1)]),
      undefined,
      'a node that follows another one',
    );
  });

  test('however wrong the clocks of nodes are', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e10, max: 1e10 }), fc.nat(settlingMs - 1), (offMs, afterMs) => {
        const wrong = { node: 'node1', atMs: nowMs + offMs, seenMs: nowMs };
        const adoptions = [wrong, { node: 'node2', atMs: nowMs, seenMs: nowMs }];
        const drifts = [drift('node1', offMs + afterMs), drift('node2', afterMs)];
        assert.equal(suspicionOf(rolloutOf({}, { adoptions }), drifts)?.nodes.length, 2);
      }),
    );
  });

  test('is put on record with one alert, whose key names the commit', () => {
    const nodes = Array.from({ length: 5_000 }, (_, i) => `node-${'x'.repeat(50)}-${i}`);
    const { alert, frozen } = freezeStatements(commit, { drift: 'IMAGE_DRIFT', nodes });
    for (const statement of [alert, frozen]) {
      statementSchema.parse(statement);
      assert.ok(JSON.stringify(statement).length < limits.maxEntryBytes / 1.5);
    }
    if (alert.kind !== 'alert.raised') throw new Error('no alert');
    assert.deepEqual([alert.body.key, alert.body.severity], [`enforcement.frozen/${commit}`, 'critical']);
  });
});

describe('nodes settle', () => {
  test('all of a rollout for as long as its last one', () => {
    const rollout = rolloutOf({ node1: 1_000, node2: 9_000 });
    assert.deepEqual(settledAt(rollout, 'node1'), { fleetMs: nowMs + 24_000, ownMs: nowMs + 16_000 });
    assert.deepEqual(settledAt(rolloutOf({}), 'node1').fleetMs, nowMs + settlingMs, 'when nobody has adopted it yet');
  });

  test('alone when they come later', () => {
    const late = limits.rolloutSpreadMs + 1;
    const settled = settledAt(rolloutOf({ node1: 1_000, node2: late }), 'node2');
    assert.deepEqual(settled, { fleetMs: nowMs + 16_000, ownMs: nowMs + late + settlingMs });
  });

  test('not at all where the manifest says so', () => {
    assert.deepEqual(settledAt(rolloutOf({ node1: 1_000 }, { settlingMs: 0 }), 'node1'), { fleetMs: 0, ownMs: 0 });
  });

  test('by the later of two clocks, within bounds', () => {
    assert.equal(laterOf(100, 50), 100);
    assert.equal(laterOf(100, 150), 150);
    assert.equal(laterOf(0, 1e9), limits.clockSuspectMs);
  });
});
