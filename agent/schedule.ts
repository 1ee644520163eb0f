import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../common/clock.ts';
import { limits } from '../common/limits.ts';

/** Start of the scan interval that holds `unixMs`: with the default interval, the UTC minute. */
export function slotOf(unixMs: number, intervalMs: number): number {
  return Math.floor(unixMs / intervalMs) * intervalMs;
}

export interface Tick {
  /** Start of the interval this tick stands for, Unix milliseconds. */
  readonly slot: number;
  /** How long after its start the tick came. */
  readonly delayMs: number;
}

export interface ScheduleOptions {
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly signal: AbortSignal;
  /** The next tick waits for it. Must not reject. */
  readonly onTick: (tick: Tick) => Promise<void>;
}

/**
 * Calls `onTick` once in every interval of wall-clock time, at its start, until the signal. Never waits longer than one
 * interval, so a clock that was set, or a machine that slept, is noticed at the latest then.
 */
export async function everySlot({ clock, intervalMs, signal, onTick }: ScheduleOptions): Promise<void> {
  let last = slotOf(clock.now(), intervalMs);
  while (!signal.aborted) {
    const now = clock.now();
    const slot = slotOf(now, intervalMs);
    if (slot === last) {
      // Timers may fire a little early; asking again is cheaper than being wrong about the minute.
      await delay(Math.min(slot + intervalMs - now, limits.scanIntervalMs), undefined, { signal }).catch(() => {});
      continue;
    }
    last = slot;
    await onTick({ slot, delayMs: now - slot });
  }
}
