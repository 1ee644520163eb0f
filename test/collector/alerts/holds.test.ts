import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Severity } from '../../../collector/alerts/alert.ts';
import { holdOf } from '../../../collector/alerts/holds.ts';
import { inhibitions, inhibitorOf, inhibitorsAmong } from '../../../collector/alerts/inhibition.ts';
import { driftAlerts } from '../../../collector/alerts/rules/drift.ts';
import type { AlertSilence } from '../../../collector/alerts/standing.ts';
import { frozenAlertKey } from '../../../collector/enforcement/freeze.ts';
import { type DriftKind, driftKinds } from '../../../common/drift-kind.ts';
import { limits } from '../../../common/limits.ts';

const nowMs = Date.parse('2026-03-01T10:00:00.000Z');
const standing = (...keys: string[]) =>
  inhibitorsAmong(
    keys.map((key) => ({ key, worst: 'error' as const })),
    [],
  );
const of = (key: string, worst: Severity = 'error') => ({ key, worst });

describe('what follows from what', () => {
  test('a silent node is told, and not what rests on its reports', () => {
    const silent = standing('node.silent/node2');
    const follow = ['engine.down/node2', 'clock.suspect/node2', 'sigils.unreadable/node2/main', 'drift.open/node2/web'];
    for (const key of follow) assert.equal(inhibitorOf(of(key), silent), 'node.silent/node2', key);
    assert.equal(inhibitorOf(of('node.silent/node2'), silent), undefined);
    assert.equal(inhibitorOf(of('enforcement.daily_limit/node2'), silent), undefined);
  });

  test('nothing of another node is held back, whatever its name begins with', () => {
    const silent = standing('node.silent/node2', 'engine.down/node2');
    for (const key of [
      'engine.down/node1',
      'engine.down/node20',
      'engine.down/node',
      'drift.open/node20/web',
      'drift.open',
    ]) {
      assert.equal(inhibitorOf(of(key), silent), undefined, key);
    }
  });

  test('where the engine is down drifts are not told', () => {
    assert.equal(inhibitorOf(of('drift.image/node2'), standing('engine.down/node2')), 'engine.down/node2');
  });

  test('while a commit is frozen the drifts are not told that it was frozen for, and all others are', () => {
    const key = frozenAlertKey('4f2a');
    const frozenFor = (drift: DriftKind, nodes: readonly string[]) =>
      inhibitorsAmong([{ key, worst: 'critical' }], [{ commit: '4f2a', drift, nodes: [...nodes] }]);
    const frozen = frozenFor('IMAGE_DRIFT', ['node1', 'node2']);
    for (const node of ['node1', 'node2']) assert.equal(inhibitorOf(of(`drift.image/${node}`), frozen), key, node);
    for (const other of ['drift.image/node3', 'drift.image/node', 'drift.unauthorized/node1', 'engine.down/node1']) {
      assert.equal(inhibitorOf(of(other), frozen), undefined, other);
    }
    for (const drift of driftKinds) {
      assert.equal(inhibitorOf(of(`${driftAlerts[drift]}/node1`), frozenFor(drift, ['node1'])), key);
    }
    // More than are named: those that are not may have been among them.
    const many = Array.from({ length: limits.maxFrozenNodesNamed }, (_, i) => `node${i}`);
    assert.equal(inhibitorOf(of('drift.image/lyra'), frozenFor('IMAGE_DRIFT', many)), key);
    // And where nobody knows what was frozen, nobody is kept from hearing of anything.
    assert.equal(inhibitorOf(of('drift.image/node1'), standing(key)), undefined);
  });

  test('what is worse than its cause is told all the same', () => {
    const silent = standing('node.silent/node2');
    assert.equal(inhibitorOf(of('sigils.findings/node2/main', 'critical'), silent), undefined);
    assert.equal(inhibitorOf(of('sigils.findings/node2/main', 'error'), silent), 'node.silent/node2');
  });

  test('nothing follows from itself, over however many steps', () => {
    const after = (prefix: string): readonly string[] =>
      inhibitions
        .filter(({ by }) => prefix.startsWith(by) || by.startsWith(prefix))
        .flatMap(({ of: prefixes }) => prefixes.flatMap((next) => [next, ...after(next)]));
    for (const { by } of inhibitions) assert.ok(!after(by).some((prefix) => by.startsWith(prefix)), by);
  });
});

describe('silences', () => {
  const silence = (pattern: string, forMs: number): AlertSilence => ({
    ...{ id: pattern, pattern, untilMs: nowMs + forMs, actor: 'operator', reason: 'works', index: 1, atMs: nowMs },
  });
  const hold = (...silences: AlertSilence[]) =>
    holdOf(of('engine.down/node2'), { silences, inhibitors: standing(), nowMs });

  test('hold back what they name until they end, the longest of them last', () => {
    assert.equal(hold(), undefined);
    assert.equal(hold(silence('engine.down/node2', 0)), undefined);
    assert.equal(hold(silence('engine.down/node1', 1)), undefined);
    const held = hold(silence('engine.down/*', 1), silence('engine.down/node2', 3), silence('engine.*', 2));
    assert.deepEqual(held?.by === 'silence' && held.silence.pattern, 'engine.down/node2');
  });
});
