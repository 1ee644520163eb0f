import assert from 'node:assert/strict';
import { test } from 'node:test';
import { everySlot, slotOf, type Tick } from '../../agent/schedule.ts';
import { until } from '../until.ts';
import { settableClock } from './watching.ts';

const intervalMs = 50;

function ticking(onTick: (tick: Tick) => Promise<void> = async () => {}) {
  const clock = settableClock();
  const abort = new AbortController();
  const ticks: Tick[] = [];
  const ended = everySlot({
    clock,
    intervalMs,
    signal: abort.signal,
    onTick: async (tick) => {
      ticks.push(tick);
      await onTick(tick);
    },
  });
  return {
    clock,
    ticks,
    stop: async () => {
      abort.abort();
      await ended;
    },
  };
}

test('one tick in each interval, at its start', async () => {
  const { ticks, stop } = ticking();
  await until('ten ticks', () => ticks.length >= 10);
  await stop();
  assert.ok(ticks.every(({ slot, delayMs }) => slot === slotOf(slot, intervalMs) && delayMs >= 0));
  assert.equal(new Set(ticks.map(({ slot }) => slot)).size, ticks.length);
});

test('a tick that takes long is not followed by those it covered', async () => {
  let slow = true;
  const { ticks, stop } = ticking(async () => {
    if (!slow) return;
    slow = false;
    const end = Date.now() + 4 * intervalMs;
    await until('it is late', () => Date.now() >= end);
  });
  await until('three ticks', () => ticks.length >= 3);
  await stop();
  const [first, second] = ticks;
  assert.ok((second?.slot ?? 0) - (first?.slot ?? 0) >= 3 * intervalMs);
});

for (const years of [10, -10]) {
  test(`a clock set by ${years} years is noticed within an interval or so`, async () => {
    const { clock, ticks, stop } = ticking();
    await until('a tick', () => ticks.length > 0);
    clock.stepMs = years * 365 * 24 * 3_600_000;
    const before = ticks.length;
    await until('a tick at the new time', () => ticks.some(({ slot }) => Math.abs(slot - clock.now()) < 60_000));
    await until('and more', () => ticks.length >= before + 3);
    await stop();
  });
}

test('stopping does not wait for the next interval', async () => {
  const abort = new AbortController();
  const ended = everySlot({
    clock: settableClock(),
    intervalMs: 3_600_000,
    signal: abort.signal,
    onTick: async () => {},
  });
  abort.abort();
  await ended;
});
