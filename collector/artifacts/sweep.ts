import { hash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { RunAlone } from '../integrity/ports.ts';
import type { EnforcementWish, RequestEnforcement, StoredScore, SweepStore, SweptArtifact } from './ports.ts';
import { crossed, isNews, metricName, scoreArtifact, thresholdText } from './score.ts';
import type { ScoreThreshold, ScoringSettings } from './settings.ts';

export interface SweepNeeds {
  readonly scoring: ScoringSettings;
  readonly store: SweepStore;
  readonly ledger: Recorder;
  readonly requestEnforcement: RequestEnforcement;
  readonly alone: RunAlone;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What one sweep did. */
export interface Swept {
  /** Artifacts that were looked at, those whose score was put on record, and enforcements that were asked for. */
  readonly looked: number;
  readonly scored: number;
  readonly requested: number;
}

/** Scores artifacts: new ones, those whose facts have changed, and each once a day. One at a time over all collectors of a database. */
export interface Sweeper {
  /**
   * A crash between two steps leaves them to the next sweep: a score that stands already is no news, and an enforcement that was asked
   * for has a key.
   * @returns undefined while another collector sweeps
   * @throws AppError as the ledger and the database do
   */
  sweep(signal: AbortSignal): Promise<Swept | undefined>;
  /** Sweeps by the interval until the signal; failures are logged. */
  follow(signal: AbortSignal): Promise<void>;
}

export function createSweeper(needs: SweepNeeds): Sweeper {
  const { scoring, store, alone, clock, logger } = needs;

  async function sweep(signal: AbortSignal): Promise<Swept | undefined> {
    return alone(async ({ confirm }) => {
      await store.markDue(clock.now());
      let [looked, scored] = [0, 0];
      for (let batch = 0; batch < limits.maxSweepBatches && !signal.aborted; batch++) {
        const ids = await store.due(clock.now(), limits.sweepBatchArtifacts);
        if (ids.length === 0) break;
        await confirm();
        scored += await scoreBatch(needs, ids);
        looked += ids.length;
      }
      const requested = await answerScores(needs, signal);
      return { looked, scored, requested };
    });
  }

  return {
    sweep,
    follow: async (signal) => {
      while (!signal.aborted) {
        await sweep(signal).then(
          (swept) => {
            if (swept !== undefined && swept.scored + swept.requested > 0) logger.info('artifacts.swept', { ...swept });
          },
          (thrown: unknown) => {
            if (!signal.aborted) logger.error('artifacts.sweep_failed', { error: toAppError(thrown) });
          },
        );
        await delay(scoring.intervalMs, undefined, { signal }).catch(() => {});
      }
    },
  };
}

/** @returns how many scores went on record */
async function scoreBatch({ store, ledger, scoring, clock }: SweepNeeds, ids: readonly string[]): Promise<number> {
  const nowMs = clock.now();
  const metric = metricName(scoring);
  const artifacts = await store.facts(ids);
  // All at once: they share a commit.
  const told = await Promise.all(
    artifacts.map(async ({ id, facts, firstAtMs, before }) => {
      const score = scoreArtifact({ ...facts, ageMs: nowMs - firstAtMs }, scoring);
      if (!isNews(score, before ?? undefined)) return false;
      const body = { artifact: id, previous: before?.total ?? null, metric, ...score };
      await ledger.record({ kind: 'artifact.scored', body });
      return true;
    }),
  );
  await store.swept(withMissing(artifacts, ids), nowMs + limits.rescoreMs);
  return told.filter((isTold) => isTold).length;
}

/** An artifact that is not there any more, after the projections were repaired, must not stay due for ever. */
function withMissing(found: readonly SweptArtifact[], ids: readonly string[]) {
  const missing = ids.filter((id) => !found.some((artifact) => artifact.id === id));
  return [...found, ...missing.map((id) => ({ id, nodes: [] }))];
}

/** Holds scores against the thresholds, each once. @returns how many enforcements were asked for */
async function answerScores(needs: SweepNeeds, signal: AbortSignal): Promise<number> {
  const { store, scoring } = needs;
  const { thresholds } = scoring;
  let requested = 0;
  while (!signal.aborted) {
    const scores = await store.unanswered(limits.sweepScores);
    for (const score of scores) {
      for (const threshold of crossed(thresholds, score)) {
        if (await ask(needs, enforcementWish(score, threshold, scoring.name))) requested += 1;
      }
    }
    const last = scores.at(-1);
    if (last !== undefined) await store.answered(last.index);
    if (scores.length < limits.sweepScores) break;
  }
  return requested;
}

/** What is refused for good is refused the next time too. @throws AppError that is retryable */
async function ask({ requestEnforcement, logger }: SweepNeeds, wish: EnforcementWish): Promise<boolean> {
  try {
    await requestEnforcement(wish);
    return true;
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.retryable) throw error;
    const { artifact, action } = wish;
    logger.error('artifacts.enforcement_refused', { artifact, action, error });
    return false;
  }
}

/** @param metric name of the metric in the settings */
export function enforcementWish(
  { index, artifact, total }: StoredScore,
  threshold: ScoreThreshold,
  metric: string,
): EnforcementWish {
  const { action, target = null } = threshold;
  const crossing = JSON.stringify([index, artifact, thresholdText(threshold), action, target]);
  return {
    key: hash('sha256', crossing, 'hex'),
    ...{ artifact, action, target },
    reason: `its score is ${total}, ${thresholdText(threshold)} (entry ${index})`,
    actor: `scoring:${metric}`,
  };
}
