import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PastClocks } from '../../../collector/backtest/past-clocks.ts';
import { limits } from '../../../common/limits.ts';
import { nowMs, openDrift } from '../enforcement/situations.ts';

const graceMs = 50_000;
const first = openDrift('UNAUTHORIZED_CONTAINER', 'stray-3', { openedIndex: 10, openedAtMs: nowMs });
const openedAtMs = nowMs + graceMs - 100;
const second = openDrift('UNAUTHORIZED_CONTAINER', 'stray-2', { openedIndex: 20, openedAtMs });

for (const [afterMs, goesOn] of [
  [0, true],
  [limits.saidTogetherMs, true],
  [limits.saidTogetherMs + 1, false],
] as const) {
  const what = goesOn ? 'hands its clock on' : 'does not';
  test(`what ends ${afterMs} ms after the same came back ${what}, as a collector takes it`, () => {
    const clocks = new PastClocks({ graceMs, wantedImages: [] });
    clocks.look([], [first], nowMs);
    clocks.look([], [second], openedAtMs);
    clocks.look([first], [], openedAtMs + afterMs);
    const expected = goesOn ? { sinceMs: nowMs, openedIndex: 10 } : undefined;
    const clock = clocks.earlier.get(second.drift.id);
    assert.deepEqual(clock && { sinceMs: clock.sinceMs, openedIndex: clock.openedIndex }, expected);
  });
}
