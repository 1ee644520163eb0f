import { rfc3339 } from '../../common/clock.ts';

/** A total that holds from then on. */
export interface TimedScore {
  readonly index: number;
  readonly atMs: number;
  readonly total: number;
}

const weekMs = 7 * 86_400_000;
export const trendWeeks = 4;
/** How far back a trend looks. */
export const trendMs = trendWeeks * weekMs;

/**
 * Four weeks up to now, the oldest first: the mean of each, by how long each score stood; null for a week before the first one.
 * `slope` is per week, of the line that fits the means best (least squares); null with fewer than two of them. Pure.
 * @param scores in the order of the ledger, with the last one from before those weeks, if there is one
 */
export function scoreTrend(scores: readonly TimedScore[], nowMs: number) {
  const weeks = Array.from({ length: trendWeeks }, (_, at) => {
    const [from, to] = [nowMs - (trendWeeks - at) * weekMs, nowMs - (trendWeeks - at - 1) * weekMs];
    return { from: rfc3339(Math.max(0, from)), to: rfc3339(to), mean: meanBetween(scores, from, to) };
  });
  const means = weeks.flatMap(({ mean }, at) => (mean === null ? [] : [{ at, mean }]));
  const [first, last] = [means.at(0), means.at(-1)];
  const change = first === undefined || last === undefined ? null : rounded(last.mean - first.mean);
  return { weeks, change, slope_per_week: slopeOf(means) };
}

export type ScoreTrend = ReturnType<typeof scoreTrend>;

function meanBetween(scores: readonly TimedScore[], fromMs: number, toMs: number): number | null {
  let [sum, stood] = [0, 0];
  for (const [at, { atMs, total }] of scores.entries()) {
    const next = scores[at + 1]?.atMs ?? Number.POSITIVE_INFINITY;
    // Clocks are set back; a score that seems to end before it began stood for no time.
    const span = Math.max(0, Math.min(next, toMs) - Math.max(atMs, fromMs));
    sum += span * total;
    stood += span;
  }
  return stood === 0 ? null : rounded(sum / stood);
}

function slopeOf(means: readonly { readonly at: number; readonly mean: number }[]): number | null {
  if (means.length < 2) return null;
  const [middle, level] = [average(means.map(({ at }) => at)), average(means.map(({ mean }) => mean))];
  const above = means.reduce((sum, { at, mean }) => sum + (at - middle) * (mean - level), 0);
  const below = means.reduce((sum, { at }) => sum + (at - middle) ** 2, 0);
  return rounded(above / below);
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function rounded(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
