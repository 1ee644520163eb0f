import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { type Clock, rfc3339 } from '../common/clock.ts';
import { errnoOf } from '../common/errors.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import { replaceFile } from './data/durable-file.ts';

/**
 * Whether what is old may be deleted. What a wrong clock calls expired is refused at that moment, and good again when the clock is
 * right; what it deletes is gone. So nothing is deleted by age for a day after the clock was set, forth or back.
 *
 * A clock that was set is told by the monotonic one, which goes on evenly. Over a restart it is told by a record in the data directory
 * of when it was looked at last: whoever stayed away for longer than a week waits, too.
 */
export interface SteadyClock {
  /** Why nothing may be deleted by age now; undefined when it may. @throws AppError as the database does */
  whyNot(): Promise<string | undefined>;
  /** For how much longer nothing is deleted because the clock was set, milliseconds. */
  readonly heldMs: number;
  /** One look, which is kept. A record that cannot be written is logged. */
  look(): Promise<void>;
  /** Looks until the signal. */
  follow(signal: AbortSignal): Promise<void>;
}

export interface SteadyClockNeeds {
  readonly clock: Clock;
  /** The database server's clock, Unix milliseconds. */
  readonly databaseNow: () => Promise<number>;
  readonly logger: Logger;
}

/** Why deletions are held back, and for how much longer; 0 ms where they are not. */
export interface Hold {
  readonly ms: number;
  readonly why: string;
}

interface Look {
  readonly nowMs: number;
  readonly monotonicMs: number;
}

const unixMs = z.int().nonnegative();
const clockRecord = z.strictObject({ seenMs: unixMs, heldMs: unixMs, why: z.string().max(limits.maxForeignTextChars) });
type ClockRecord = z.infer<typeof clockRecord>;

const free: Hold = { ms: 0, why: '' };
const unreadable = 'when the clock was looked at last cannot be read';
const held = (why: string): Hold => ({ ms: limits.deletionsHeldMs, why });

/** @throws never for the record: one that cannot be read is a reason to wait */
export async function openSteadyClock(dataDir: string, needs: SteadyClockNeeds): Promise<SteadyClock> {
  const { clock, databaseNow, logger } = needs;
  const path = recordPath(dataDir);
  let last = lookAt(clock);
  let hold = atStart(await readRecord(path), last.nowMs);
  if (hold.ms > 0) logger.warn('clock.deletions_held', { why: hold.why, heldMs: hold.ms });

  const see = (): void => {
    const now = lookAt(clock);
    const next = afterLook(hold, last, now);
    if (next.why !== hold.why && next.ms > 0) logger.warn('clock.deletions_held', { why: next.why, heldMs: next.ms });
    if (next.ms === 0 && hold.ms > 0) logger.info('clock.deletions_resumed', { why: hold.why });
    [hold, last] = [next, now];
  };
  const look = async (): Promise<void> => {
    see();
    const record: ClockRecord = { seenMs: last.nowMs, heldMs: hold.ms, why: hold.why };
    await replaceFile(path, `${JSON.stringify(record)}\n`).catch((error: unknown) => {
      logger.warn('clock.not_kept', { path, error });
    });
  };
  await look();
  return {
    get heldMs() {
      return hold.ms;
    },
    whyNot: async () => {
      see();
      if (hold.ms > 0) return hold.why;
      const [hereMs, databaseMs] = [clock.now(), await databaseNow()];
      if (Math.abs(hereMs - databaseMs) <= limits.retentionMaxClockGapMs) return undefined;
      return `the clocks disagree: it is ${rfc3339(hereMs)} here and ${rfc3339(databaseMs)} at the database`;
    },
    look,
    follow: async (signal) => {
      while (!signal.aborted) {
        await delay(limits.clockLookMs, undefined, { signal }).catch(() => {});
        await look();
      }
    },
  };
}

function recordPath(dataDir: string): string {
  return join(dataDir, 'clock.json');
}

/** What a collector that runs here, or ran here last, has put down; undefined where none has. A record that cannot be read is a reason to wait. */
export async function lastHold(dataDir: string): Promise<Hold | undefined> {
  const kept = await readRecord(recordPath(dataDir));
  if (kept === 'none') return undefined;
  return kept === 'unreadable' ? held(unreadable) : { ms: kept.heldMs, why: kept.why };
}

function lookAt(clock: Clock): Look {
  return { nowMs: clock.now(), monotonicMs: clock.monotonicMs() };
}

/** What was held back stays so for as long as it was to be: how long nobody ran is only known by the clock in doubt. */
function atStart(kept: ClockRecord | 'none' | 'unreadable', nowMs: number): Hold {
  if (kept === 'none') return free;
  if (kept === 'unreadable') return held(unreadable);
  const { seenMs, heldMs, why } = kept;
  const awayMs = nowMs - seenMs;
  const isInDoubt = awayMs < -limits.clockSuspectMs || awayMs > limits.clockMaxAbsenceMs;
  if (isInDoubt) return held(wasSet(seenMs, nowMs));
  return heldMs > 0 ? { ms: Math.min(heldMs, limits.deletionsHeldMs), why } : free;
}

function afterLook(hold: Hold, last: Look, now: Look): Hold {
  const passedMs = now.monotonicMs - last.monotonicMs;
  const expectedMs = last.nowMs + passedMs;
  if (Math.abs(now.nowMs - expectedMs) > limits.clockSuspectMs) return held(wasSet(expectedMs, now.nowMs));
  return hold.ms > passedMs ? { ...hold, ms: hold.ms - passedMs } : free;
}

function wasSet(fromMs: number, toMs: number): string {
  return `the clock was set from ${rfc3339(fromMs)} to ${rfc3339(toMs)}, or the machine was away for long`;
}

async function readRecord(path: string): Promise<ClockRecord | 'none' | 'unreadable'> {
  try {
    return clockRecord.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (thrown) {
    return errnoOf(thrown) === 'ENOENT' ? 'none' : 'unreadable';
  }
}
