import { hash } from 'node:crypto';
import { canonicalText } from '../../common/canonical.ts';
import { type Body, scoreParts } from '../../common/kinds.ts';
import type { LineageFacts } from '../../common/lineage.ts';
import type { ScoreThreshold, ScoringSettings } from './settings.ts';

/** What an artifact is scored by. */
export interface ScoreFacts {
  /** Since it was registered first, milliseconds. */
  readonly ageMs: number;
  readonly lineage: LineageFacts;
  /** As it was registered with: 0 for none, 1 for as much as there can be. */
  readonly driftScore: number | null;
  readonly scorecardScore: number | null;
  /** Containers that run it now; of them those that the manifest wants otherwise or not at all, and those with another drift. */
  readonly running: number;
  readonly astray: number;
  readonly drifting: number;
  /** That stand on the nodes that run it. */
  readonly findings: number;
}

/** By what an artifact is scored; thresholds are no part of it. */
export type ScoreMetric = Pick<ScoringSettings, 'name' | 'weights' | 'freshDays' | 'staleDays' | 'maxFindings'>;

type Parts = Body<'artifact.scored'>['parts'];
export type ScorePart = Parts[number]['part'];

export interface Score {
  /** From 0 to 1, with four decimals. */
  readonly total: number;
  readonly parts: Parts;
}

const weekMs = 7 * 86_400_000;
const dayMs = 86_400_000;

/** What a part is worth, from 0 to 1; null where nothing is known. */
const worth: { readonly [P in ScorePart]: (facts: ScoreFacts, metric: ScoreMetric) => number | null } = {
  drift: ({ running, astray, drifting, driftScore }) => {
    // What is seen counts more than what somebody said.
    if (running > 0) return 1 - (astray + drifting / 2) / running;
    return driftScore === null ? null : 1 - driftScore;
  },
  signature: ({ lineage }) => ({ none: 0, present: 0.5, verified: 1 })[lineage.signature],
  provenance: ({ lineage: { name, image, imageId, commit, builder, parents } }) => {
    const said = [name, image ?? imageId, commit, builder, parents];
    return said.filter((one) => one !== null).length / said.length;
  },
  findings: ({ running, findings }, { maxFindings }) => (running === 0 ? null : 1 - findings / maxFindings),
  age: ({ ageMs }, { freshDays, staleDays }) => {
    // In whole weeks: an artifact that only grows older is not worth an entry each day.
    const days = (Math.floor(Math.max(0, ageMs) / weekMs) * weekMs) / dayMs;
    if (days <= freshDays) return 1;
    return days >= staleDays ? 0 : (staleDays - days) / (staleDays - freshDays);
  },
  scorecard: ({ scorecardScore }) => scorecardScore,
};

/**
 * What an artifact is worth: the mean of its parts by their weights. Of what is not known nothing is supposed: such a part has
 * the value null, and the weights of the others come to 1. With nothing known the total is 0. Pure.
 */
export function scoreArtifact(facts: ScoreFacts, metric: ScoreMetric): Score {
  const judged = scoreParts.map((part) => {
    const value = worth[part](facts, metric);
    return { part, value: value === null ? null : rounded(Math.min(1, Math.max(0, value))) };
  });
  const known = judged.flatMap(({ part, value }) => (value === null ? [] : [{ value, weight: metric.weights[part] }]));
  const all = known.reduce((sum, { weight }) => sum + weight, 0);
  const share = (weight: number) => (all === 0 ? 0 : weight / all);
  const total = known.reduce((sum, { value, weight }) => sum + value * share(weight), 0);
  const parts = judged.map(({ part, value }) => {
    return { part, value, weight: value === null ? 0 : rounded(share(metric.weights[part])) };
  });
  return { total: rounded(Math.min(1, total)), parts };
}

function rounded(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}

/** What a score was made by, as it goes on record: the name, and a digest of the numbers, which a name does not vouch for. */
export function metricName({ name, weights, freshDays, staleDays, maxFindings }: ScoreMetric): string {
  const numbers = canonicalText({ weights, freshDays, staleDays, maxFindings });
  return `${name}@${hash('sha256', numbers, 'hex').slice(0, 12)}`;
}

/** Whether a score says something else than the one before. */
export function isNews(score: Score, before: Score | undefined): boolean {
  if (before === undefined || score.total !== before.total) return true;
  return canonicalText(score.parts) !== canonicalText(before.parts);
}

/** Thresholds that were crossed by this score: it is beyond them, and the one before was not or there was none. */
export function crossed(
  thresholds: readonly ScoreThreshold[],
  { total, previous }: { readonly total: number; readonly previous: number | null },
): readonly ScoreThreshold[] {
  return thresholds.filter(
    (threshold) => isBeyond(threshold, total) && (previous === null || !isBeyond(threshold, previous)),
  );
}

function isBeyond({ below, atLeast }: ScoreThreshold, total: number): boolean {
  return (below !== undefined && total < below) || (atLeast !== undefined && total >= atLeast);
}

/** A threshold in words. */
export function thresholdText({ below, atLeast }: ScoreThreshold): string {
  return below === undefined ? `at or above ${atLeast}` : `below ${below}`;
}
