import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { createSweeper, type Sweeper } from '../artifacts/sweep.ts';
import type { CollectorSettings } from '../config.ts';
import { applicationName, type OpenDatabase } from '../database.ts';
import type { Recorder } from '../enforcement/ports.ts';
import { requestEnforcement } from '../jobs/request.ts';
import { aloneInSweep, postgresSweepStore } from '../postgres/artifact-sweep-store.ts';
import type { Working } from './working.ts';

export interface ScoringNeeds {
  readonly database: OpenDatabase;
  readonly ledger: Recorder;
  /** What carries out what the thresholds ask for. */
  readonly working: Pick<Working, 'requests' | 'actions'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Scoring extends Sweeper {
  /** @throws AppError `validation.config` for a threshold whose action is not set up, or cannot have its target. */
  check(): void;
}

/** What scores artifacts by the settings, wired to the database and to enforcement jobs. */
export function createScoring(
  { artifacts }: CollectorSettings,
  { database, working, ...needs }: ScoringNeeds,
): Scoring {
  const { scoring } = artifacts;
  const sweeper = createSweeper({
    ...{ ...needs, scoring },
    store: postgresSweepStore(database.db),
    alone: aloneInSweep({ url: database.url, applicationName }),
    requestEnforcement: ({ target, ...wish }) =>
      requestEnforcement(working.requests, { ...wish, target: target ?? '' }),
  });
  const check = () => {
    for (const [at, { action, target }] of scoring.thresholds.entries()) {
      try {
        working.actions[action].check(target ?? '');
      } catch (thrown) {
        const { message } = toAppError(thrown);
        throw new AppError('validation.config', `artifacts.scoring.thresholds[${at}]: ${message}`, { cause: thrown });
      }
    }
  };
  return {
    ...sweeper,
    check,
    // What is refused is not asked for again: a crossing must not be used up by settings that are not complete.
    sweep: async (signal) => {
      check();
      return sweeper.sweep(signal);
    },
  };
}
