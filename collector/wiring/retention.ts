import { setTimeout as delay } from 'node:timers/promises';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { CollectorSettings } from '../config.ts';
import type { Erasing } from './erasing.ts';

export interface RetentionNeeds {
  readonly erasing: Erasing;
  readonly clock: Clock;
  /** Why nothing may be deleted by age now: what is dropped because a clock was set wrong is gone for good. */
  readonly whyNot: () => Promise<string | undefined>;
  readonly logger: Logger;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Erases by the settings, once a day. Several collectors on one database take turns by the erasure's own lock. */
export interface Retention {
  /** One look; what it throws was not logged. Also finishes an erasure that was broken off, whoever had begun it. */
  pass(signal: AbortSignal): Promise<void>;
  /** Looks until the signal; failures are logged, and tried again after an hour. */
  follow(signal: AbortSignal): Promise<void>;
  /** Unix milliseconds of the last look that found nothing left to do, or did it; undefined before the first. */
  readonly succeededAt: number | undefined;
}

const dayMs = 86_400_000;

export function createRetention({ ledger }: CollectorSettings, needs: RetentionNeeds): Retention {
  const { erasing, clock, whyNot, logger, random } = needs;
  const { retentionDays, retentionExport } = ledger;
  let succeededAt: number | undefined;

  async function pass(signal: AbortSignal): Promise<void> {
    const nowMs = clock.now();
    const limit = { beforeMs: retentionDays === undefined ? 0 : nowMs - retentionDays * dayMs };
    const unfinished = await erasing.unfinished();
    // Whoever has nothing to drop needs no rights to.
    if (unfinished !== undefined || (await erasing.plan(limit)) !== undefined) {
      const why = await whyNot();
      if (why !== undefined) throw new AppError('state.conflict', `nothing is erased: ${why}`);
      const reason = `ledger.retentionDays is ${retentionDays}`;
      const { finished, erased } = await erasing.erase({
        limit,
        actor: 'retention',
        reason,
        exportTo: retentionExport,
        signal,
        onProgress: () => requireGoingOn(signal),
      });
      if (finished !== undefined) logger.info('retention.finished', { index: finished.index, to: finished.to });
      if (erased !== undefined) {
        const { from, to, bytes, index, exported } = erased;
        logger.info('retention.erased', { from, to, bytes, index, exported, before: rfc3339(limit.beforeMs) });
      }
    }
    succeededAt = nowMs;
  }

  async function attempt(signal: AbortSignal): Promise<number> {
    try {
      await pass(signal);
      return limits.retentionIntervalMs;
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'state.busy') logger.info('retention.postponed', { message: error.message });
      else if (!signal.aborted) logger.error('retention.failed', { error });
      return limits.retentionRetryMs;
    }
  }

  return {
    pass,
    follow: async (signal) => {
      while (!signal.aborted) {
        const pauseMs = await attempt(signal);
        await delay(pauseMs * (1 + random() / 10), undefined, { signal }).catch(() => {});
      }
    },
    get succeededAt() {
      return succeededAt;
    },
  };
}

/** Before it is on record nothing has been done; what comes after takes no time or is finished at the next start. */
function requireGoingOn(signal: AbortSignal): void {
  if (signal.aborted) throw new AppError('state.conflict', 'the collector is stopping; nothing was erased');
}
