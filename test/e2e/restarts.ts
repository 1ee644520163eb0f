import assert from 'node:assert/strict';

/** What is promised of a start after whatever happened. */
const promisedMs = 10_000;
/** Of one that meets a moment in which the machine has other things to do. */
const atMostMs = 45_000;

/** How long starts took. */
export interface StartTimes {
  /** Does the start. @throws when it takes far too long */
  time(what: string, start: () => Promise<unknown>): Promise<void>;
  readonly slowestMs: number;
  /** All but one in ten, or one of a few, took no longer than is promised. */
  assertInTime(): void;
}

export function startTimes(): StartTimes {
  const allMs: number[] = [];
  return {
    time: async (what, start) => {
      const startedMs = performance.now();
      await start();
      const tookMs = Math.round(performance.now() - startedMs);
      allMs.push(tookMs);
      assert.ok(tookMs <= atMostMs, `${what}: a start took ${tookMs} ms`);
    },
    get slowestMs() {
      return Math.max(...allMs);
    },
    assertInTime: () => {
      const sortedMs = allMs.toSorted((a, b) => a - b);
      const tookMs = sortedMs[Math.floor(0.9 * (sortedMs.length - 1))] ?? assert.fail('nothing was started');
      assert.ok(tookMs <= promisedMs, `too many starts took long: ${sortedMs} ms`);
    },
  };
}
