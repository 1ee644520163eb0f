import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { isDue, type Timetable } from '../../common/due.ts';
import { toAppError } from '../../common/errors.ts';
import type { LedgerCheck } from '../../common/ledger-check.ts';
import { limits } from '../../common/limits.ts';
import type { IntegrityStore, RunAlone } from './ports.ts';
import { putOnRecord, type RecordNeeds } from './record.ts';
import { type LedgerRun, reportOf } from './report.ts';

export interface NightlyNeeds extends RecordNeeds {
  readonly timetable: Timetable;
  readonly store: IntegrityStore;
  readonly alone: RunAlone;
  /** What cannot be checked is in the result. @throws AppError `state.conflict` once the signal says to stop. */
  readonly check: (signal: AbortSignal) => Promise<LedgerCheck>;
  readonly newId: (startedMs: number) => string;
  readonly clock: Clock;
}

/** Checks of the ledger by the schedule, one at a time over all collectors of a database; a run that was missed is made up once. */
export interface Nightly {
  /**
   * Makes a run if one is due and nobody else makes it. When the last run began is remembered only once it is on record, so a collector
   * that dies before leaves the run to whoever looks next.
   * @returns whether it made one
   * @throws AppError when it could not be begun, was stopped, or could not be put on record
   */
  look(signal: AbortSignal): Promise<boolean>;
  /** Looks every minute until the signal; failures are logged. */
  follow(signal: AbortSignal): Promise<void>;
}

export function createNightly(needs: NightlyNeeds): Nightly {
  const { timetable, store, alone, logger } = needs;

  async function look(signal: AbortSignal): Promise<boolean> {
    const isNow = async () => {
      const { nowMs, lastMs } = await store.turn();
      return isDue(timetable, lastMs, nowMs) ? nowMs : undefined;
    };
    if ((await isNow()) === undefined) return false;
    const made = await alone(async ({ confirm }) => {
      // Another collector may have made it between the two looks.
      const begunMs = await isNow();
      if (begunMs === undefined) return false;
      const run = await checkOnce(needs, signal);
      await confirm();
      const { report, failed } = reportOf(run);
      const { id, status } = report;
      // A run by hand has shown it to whoever made it.
      needs.logger[status === 'ok' ? 'info' : 'error']('integrity.report', { id, status, findings: failed });
      await putOnRecord(run, needs);
      await store.begun(begunMs);
      return true;
    });
    return made ?? false;
  }

  return {
    look,
    follow: async (signal) => {
      while (!signal.aborted) {
        const pauseMs = await look(signal).then(
          () => limits.scanIntervalMs,
          (thrown: unknown) => {
            if (!signal.aborted) logger.error('integrity.failed', { error: toAppError(thrown) });
            return limits.ledgerCheckRetryMs;
          },
        );
        await delay(pauseMs, undefined, { signal }).catch(() => {});
      }
    },
  };
}

/** One run, from its name to its end. */
export async function checkOnce(
  { check, clock, newId }: Pick<NightlyNeeds, 'check' | 'clock' | 'newId'>,
  signal: AbortSignal,
): Promise<LedgerRun> {
  const startedMs = clock.now();
  const made = await check(signal);
  return { id: newId(startedMs), startedMs, finishedMs: clock.now(), check: made };
}
