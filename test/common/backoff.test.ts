import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { backoffDelayMs } from '../../common/backoff.ts';

const bounds = { minMs: 500, maxMs: 60_000 };
const almostOne = () => 1 - Number.EPSILON;

test('the longest delay doubles with every attempt until it reaches the maximum', () => {
  const longest = [0, 1, 2, 3, 6, 7, 50].map((attempt) => backoffDelayMs(attempt, bounds, almostOne));
  assert.deepEqual(longest, [500, 1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
});

test('the delay spreads over the whole range, so that agents do not return together', () => {
  const delays = [0, 0.25, 0.5, 0.75].map((share) => backoffDelayMs(2, bounds, () => share));
  assert.deepEqual(delays, [0, 500, 1_000, 1_500]);
});

test('no number of attempts yields anything but whole milliseconds between zero and the maximum', () => {
  const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(fc.integer({ min: -1, max: 1_000_000 }), share, (attempt, random) => {
      const delayMs = backoffDelayMs(attempt, bounds, () => random);
      assert.ok(Number.isInteger(delayMs) && delayMs >= 0 && delayMs <= bounds.maxMs);
    }),
  );
});
