import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { createSlidingWindow } from '../../../collector/http/sliding-window.ts';

const bounds = { windowMs: 60_000, slices: 12, maxKeys: 100, crowdShare: 2 };
const sliceMs = bounds.windowMs / bounds.slices;

/** Pauses between requests: bursts, a trickle, and long silences. */
const pauses = fc.array(fc.oneof(fc.nat(50), fc.nat(5_000), fc.nat(200_000)), { maxLength: 300 });
const limit = fc.integer({ min: 1, max: 20 });

/** Beside it a log of all that was taken, by which it is judged. */
function logged(startMs: number, most: number, waits: readonly number[]) {
  const window = createSlidingWindow(bounds);
  const log: number[] = [];
  let nowMs = startMs;
  return waits.map((wait) => {
    nowMs += wait;
    const since = (ms: number) => log.filter((at) => at > nowMs - ms).length;
    const before = { window: since(bounds.windowMs), more: since(bounds.windowMs + sliceMs) };
    const taken = window.take('a', most, nowMs);
    if (!taken.refused) log.push(nowMs);
    return { ...taken, nowMs, before };
  });
}

describe('a sliding window', () => {
  test('never lets more through in any stretch of its length than its limit', () => {
    fc.assert(
      fc.property(fc.nat(1e9), limit, pauses, (startMs, most, waits) => {
        for (const { refused, before } of logged(startMs, most, waits)) if (!refused) assert.ok(before.window < most);
      }),
    );
  });

  test('refuses only where a stretch longer by one slice was full', () => {
    fc.assert(
      fc.property(fc.nat(1e9), limit, pauses, (startMs, most, waits) => {
        for (const { refused, before } of logged(startMs, most, waits)) if (refused) assert.ok(before.more >= most);
      }),
    );
  });

  test('takes again whoever comes back when it said so', () => {
    fc.assert(
      fc.property(fc.nat(1e9), limit, pauses, (startMs, most, waits) => {
        const window = createSlidingWindow(bounds);
        let nowMs = startMs;
        for (const wait of waits) {
          nowMs += wait;
          const { refused, resetMs } = window.take('a', most, nowMs);
          assert.ok(resetMs > 0 && resetMs <= bounds.windowMs + sliceMs);
          if (!refused) continue;
          nowMs += Math.ceil(resetMs);
          assert.equal(window.take('a', most, nowMs).refused, false);
        }
      }),
    );
  });

  test('says how many are left', () => {
    const window = createSlidingWindow(bounds);
    const left = Array.from({ length: 4 }, () => window.take('a', 3, 1_000));
    assert.deepEqual(
      left.map(({ remaining, refused }) => [remaining, refused]),
      [
        [2, false],
        [1, false],
        [0, false],
        [0, true],
      ],
    );
  });

  test('forgets nobody who still counts, however many others come', () => {
    const window = createSlidingWindow(bounds);
    for (let i = 0; i < 5; i += 1) window.take('attacker', 5, 0);
    let passed = 0;
    for (let i = 0; i < 10_000; i += 1) if (!window.take(`other-${i}`, 5, i).refused) passed += 1;
    assert.equal(window.size, bounds.maxKeys);
    assert.equal(window.take('attacker', 5, 10_000).refused, true);
    assert.equal(passed, bounds.maxKeys - 1 + 5 * bounds.crowdShare, 'newcomers beyond the room share one count');
    assert.equal(window.take('late', 5, 200_000).refused, false, 'and have room again once the others are over');
    assert.equal(window.size, 1);
  });
});
