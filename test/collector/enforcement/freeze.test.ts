import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  answeredKinds,
  freezeStatements,
  laterOf,
  newlyAnswered,
  type Rollout,
  settledAt,
  suspicionOf,
} from '../../../collector/enforcement/freeze.ts';
import { type DriftKind, driftKinds } from '../../../common/drift-kind.ts';
import { statementSchema } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { commit, nowMs, policyOf } from './situations.ts';

const settlingMs = 15_000;

/** Nodes that adopted the commit so many milliseconds after the collector, clocks alike. */
function rolloutOf(after: Readonly<Record<string, number>>, others: Partial<Rollout> = {}): Rollout {
  const adoptions = Object.entries(after).map(([node, ms]) => ({ node, atMs: nowMs + ms, seenMs: nowMs + ms }));
  return { commit, adoptedAtMs: nowMs, settlingMs, freezeNodes: 2, newlyAnswered: [], adoptions, ...others };
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

  test('also when drifts that stood before are changed by it while nodes settle', () => {
    const before = -3_600_000;
    const changed = (node: string, afterMs: number) => ({ ...drift(node, before), changedAtMs: nowMs + afterMs });
    assert.deepEqual(suspicionOf(rollout, [changed('node1', 5), changed('node2', 9_005)])?.nodes, ['node1', 'node2']);
    assert.equal(suspicionOf(rollout, [changed('node1', 5), changed('node2', 8_999)]), undefined, 'before it');
    assert.equal(suspicionOf(rollout, [changed('node1', 5), changed('node2', 24_000)]), undefined, 'long after');
  });

  test('also when its rules answer drifts that stood before, and those before it did not', () => {
    const stood = (node: string, others = {}) => ({ ...drift(node, -3_600_000), answerable: true, ...others });
    const changed: Rollout = { ...rollout, newlyAnswered: ['IMAGE_DRIFT'] };
    assert.deepEqual(suspicionOf(changed, [stood('node1'), stood('node3')])?.nodes, ['node1', 'node3']);
    assert.equal(suspicionOf(rollout, [stood('node1'), stood('node3')]), undefined, 'the rule is as it was');
    const pointless = stood('node3', { answerable: false });
    assert.equal(suspicionOf(changed, [stood('node1'), pointless]), undefined, 'no order could mend it');
    assert.equal(suspicionOf(changed, [stood('node1'), stood('lyra')]), undefined, 'a node that follows another one');
    assert.equal(suspicionOf({ ...changed, settlingMs: 0 }, [stood('node1'), stood('node3')]), undefined);
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

describe('rules answer anew', () => {
  const alerting = answeredKinds(policyOf({ rules: { image_drift: { action: 'alert' } } }));
  const earlier = [
    { commit: 'bad', answered: driftKinds },
    { commit: 'good', answered: alerting },
  ];

  test('what the commit before put on record and no more', () => {
    assert.deepEqual(
      newlyAnswered(policyOf(), earlier.slice(1), () => false),
      ['IMAGE_DRIFT'],
    );
    assert.deepEqual(
      newlyAnswered(policyOf({ mode: 'audit' }), earlier.slice(1), () => false),
      [],
    );
    const audit = [{ commit: 'audit', answered: answeredKinds(policyOf({ mode: 'audit' })) }];
    assert.deepEqual(
      newlyAnswered(policyOf(), audit, () => false),
      driftKinds,
    );
    assert.deepEqual(
      newlyAnswered(policyOf(), [], () => false),
      [],
      'nothing is known',
    );
  });

  test('what a frozen commit before would have begun with, since it has not', () => {
    assert.deepEqual(
      newlyAnswered(policyOf(), earlier, () => false),
      [],
    );
    assert.deepEqual(
      newlyAnswered(policyOf(), earlier, (commit) => commit === 'bad'),
      ['IMAGE_DRIFT'],
    );
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
