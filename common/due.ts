import { createHash } from 'node:crypto';
import type { CronSchedule } from './cron.ts';
import { limits } from './limits.ts';

export interface Timetable {
  readonly schedule: CronSchedule;
  /** By how much later than the schedule says it is due. */
  readonly jitterMs: number;
}

/** How much later than others somebody begins: the same each time, and spread evenly over the names, below `spreadMs`. */
export function jitterOf(name: string, spreadMs: number): number {
  const share = createHash('sha256').update(name).digest().readUIntBE(0, 6) / 2 ** 48;
  return Math.floor(share * spreadMs);
}

/**
 * Whether a run should begin, or should have begun while nobody was there: of several that were missed, one is made up.
 * @param lastMs when the last one began, or somebody was there for the first time; as `nowMs`, Unix milliseconds
 */
export function isDue({ schedule, jitterMs }: Timetable, lastMs: number, nowMs: number): boolean {
  // By a clock that was set back since: what it has yet to reach again must not be waited for.
  if (lastMs > nowMs + limits.clockSuspectMs) return true;
  const next = schedule.nextAfter(lastMs - jitterMs);
  return next !== undefined && next + jitterMs <= nowMs;
}
