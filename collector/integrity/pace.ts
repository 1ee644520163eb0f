import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';
import type { Replays } from '../ledger/replay.ts';
import type { StoredLedger } from '../ledger/verify/source.ts';

/** Called between pieces of work; resolves when it may go on. */
export type Rest = () => Promise<void>;

/**
 * Rests so that work takes no more than `share` of the time. What is waited for counts as work, since the database does it.
 * @param share above 0; 1 never rests
 */
export function restingAt(share: number, clock: Pick<Clock, 'monotonicMs'>, pause = delayFor): Rest {
  let sinceMs = clock.monotonicMs();
  return async () => {
    const workedMs = clock.monotonicMs() - sinceMs;
    if (workedMs < limits.ledgerCheckSliceMs) return;
    if (share < 1) await pause((workedMs * (1 - share)) / share);
    sinceMs = clock.monotonicMs();
  };
}

function delayFor(ms: number): Promise<void> {
  return delay(ms);
}

/** The same ledger, read with rests. */
export function restfulLedger(stored: StoredLedger, rest: Rest): StoredLedger {
  return {
    ...stored,
    read: (from, to) => {
      const reading = stored.read(from, to);
      return { ...reading, entries: restfully(reading.entries, rest) };
    },
  };
}

/** The same replays, whose checks read with rests. */
export function restfulReplays(replays: Pick<Replays, 'check'>, rest: Rest): Pick<Replays, 'check'> {
  return {
    check: (work) =>
      replays.check((space) => {
        const entries = async (from: number, to: number) => {
          await rest();
          return space.entries(from, to);
        };
        return work({ ...space, entries });
      }),
  };
}

async function* restfully<T>(groups: AsyncIterable<T>, rest: Rest): AsyncGenerator<T> {
  for await (const group of groups) {
    yield group;
    await rest();
  }
}
