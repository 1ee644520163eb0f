import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { clockStepMs, coverageGap, coverageOf, joinDropped, skipReason } from '../../../agent/told/coverage.ts';

const fine = { engineUp: true, delayMs: 0, clockOffsetMs: 0, clockStepMs: 0, wentBack: false };

describe('what an interval counts as', () => {
  const cases: readonly [Partial<typeof fine>, string][] = [
    [{}, 'observed'],
    [{ delayMs: 20_000 }, 'late'],
    [{ clockOffsetMs: -31_000, delayMs: 20_000 }, 'clock-suspect'],
    [{ clockStepMs: -31_000 }, 'clock-suspect'],
    [{ clockStepMs: 29_000 }, 'observed'],
    [{ wentBack: true }, 'clock-suspect'],
    [{ engineUp: false, wentBack: true, delayMs: 20_000 }, 'engine-down'],
  ];
  for (const [but, expected] of cases) {
    test(`${JSON.stringify(but)} is ${expected}`, () => assert.equal(coverageOf({ ...fine, ...but }), expected));
  }

  test('a collector that was never heard of casts no doubt on the clock', () => {
    assert.equal(coverageOf({ ...fine, clockOffsetMs: undefined }), 'observed');
  });
});

describe('why intervals were skipped', () => {
  const last = { wallMs: 1_000_000, monotonicMs: 500, coverage: 'observed' } as const;

  test('a run that has not scanned yet was not there', () => assert.equal(skipReason(undefined, 0), 'agent-down'));

  test('a clock that moved on more than time passed is suspect', () => {
    const stepMs = clockStepMs(last, { wallMs: 2_000_000, monotonicMs: 60_500 });
    assert.equal(stepMs, 940_000);
    assert.equal(skipReason(last, stepMs), 'clock-suspect');
  });

  test("a scan that waited for an engine that was away is the engine's", () => {
    assert.equal(skipReason({ ...last, coverage: 'engine-down' }, 0), 'engine-down');
    assert.equal(skipReason(last, 0), 'agent-down');
  });
});

test('a gap over which the clock went back is a moment, not a negative time', () => {
  const { from, to } = coverageGap({ fromMs: 9_000, toMs: 4_000, reason: 'engine-down' }, []).body;
  assert.deepEqual([from, to], ['1970-01-01T00:00:04.000Z', '1970-01-01T00:00:04.000Z']);
});

test('only dropped stretches that touch become one', () => {
  const gap = (fromMs: number, toMs: number, reason: 'dropped' | 'agent-down') =>
    coverageGap({ fromMs, toMs, reason }, []);
  assert.deepEqual(joinDropped(gap(0, 1_000, 'dropped'), gap(1_000, 2_000, 'dropped')), gap(0, 2_000, 'dropped'));
  assert.equal(joinDropped(gap(0, 1_000, 'dropped'), gap(2_000, 3_000, 'dropped')), undefined);
  assert.equal(joinDropped(gap(0, 1_000, 'agent-down'), gap(1_000, 2_000, 'dropped')), undefined);
  assert.equal(joinDropped(undefined, gap(1_000, 2_000, 'dropped')), undefined);
});
