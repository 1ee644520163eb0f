import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { scoreTrend } from '../../../collector/artifacts/trend.ts';

const nowMs = Date.UTC(2026, 5, 1);
const dayMs = 86_400_000;
const at = (daysAgo: number, total: number, index = 1) => ({ index, atMs: nowMs - daysAgo * dayMs, total });
const means = (trend: ReturnType<typeof scoreTrend>) => trend.weeks.map(({ mean }) => mean);

describe('the trend of four weeks', () => {
  test('is level where a score stood all the time, however long ago it was made', () => {
    const trend = scoreTrend([at(400, 0.8)], nowMs);
    assert.deepEqual(means(trend), [0.8, 0.8, 0.8, 0.8]);
    assert.deepEqual([trend.change, trend.slope_per_week], [0, 0]);
  });

  test('weighs each score by how long it stood', () => {
    const trend = scoreTrend([at(28, 1), at(3.5, 0, 2)], nowMs);
    assert.deepEqual(means(trend), [1, 1, 1, 0.5]);
    assert.deepEqual([trend.change, trend.slope_per_week], [-0.5, -0.15]);
  });

  test('has no mean of a week before the first score, and no slope of a single week', () => {
    const trend = scoreTrend([at(2, 0.4)], nowMs);
    assert.deepEqual(means(trend), [null, null, null, 0.4]);
    assert.deepEqual([trend.change, trend.slope_per_week], [0, null]);
    const none = scoreTrend([], nowMs);
    assert.deepEqual([means(none), none.change, none.slope_per_week], [[null, null, null, null], null, null]);
  });

  test('stays between the lowest and the highest score, whatever clocks were set to', () => {
    const scores = fc.array(
      fc.tuple(fc.double({ min: -5, max: 60, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
    );
    fc.assert(
      fc.property(scores, (some) => {
        const made = some.map(([daysAgo, total], index) => at(daysAgo, total, index));
        const totals = some.map(([, total]) => total);
        for (const mean of means(scoreTrend(made, nowMs))) {
          if (mean !== null) assert.ok(mean >= Math.min(...totals) - 1e-4 && mean <= Math.max(...totals) + 1e-4);
        }
      }),
    );
  });
});
