import { rfc3339 } from '../../common/clock.ts';
import { clip } from '../../common/fields.ts';
import type { Body, Statement, StatementOf } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { rebuildGap } from '../docker/gap.ts';

export type Coverage = Body<'report'>['coverage'];

/** What is known of one scan interval when its report is written. */
export interface ScanCircumstances {
  readonly engineUp: boolean;
  /** How long after the start of its interval the scan began. */
  readonly delayMs: number;
  /** Collector's clock minus ours, once known. */
  readonly clockOffsetMs: number | undefined;
  /** By how much our clock moved on more, or less, than time passed since the last scan of this run. */
  readonly clockStepMs: number;
  /** Whether our clock stands before an interval that was already reported. */
  readonly wentBack: boolean;
}

/** What the interval counts as. What is most wrong is said first: nobody looked, the time is doubtful, it was late. */
export function coverageOf(scan: ScanCircumstances): Coverage {
  if (!scan.engineUp) return 'engine-down';
  if (scan.wentBack || isSuspect(scan.clockOffsetMs ?? 0) || isSuspect(scan.clockStepMs)) return 'clock-suspect';
  return scan.delayMs > limits.lateScanMs ? 'late' : 'observed';
}

/** A scan that began, by both clocks of the machine, and what it counted as once it was done. */
export interface PastScan {
  readonly wallMs: number;
  readonly monotonicMs: number;
  readonly coverage: Coverage | undefined;
}

/** By how much the wall clock moved on more than time passed since an earlier scan of this run, in milliseconds. */
export function clockStepMs(last: PastScan | undefined, now: Omit<PastScan, 'coverage'>): number {
  if (last === undefined) return 0;
  return now.wallMs - last.wallMs - (now.monotonicMs - last.monotonicMs);
}

type GapReason = Body<'coverage.gap'>['reason'];

/** Why intervals were skipped before a scan. `last` is the last scan of this run, if there was one. */
export function skipReason(last: PastScan | undefined, stepMs: number): GapReason {
  if (last === undefined) return 'agent-down';
  // A sleeping machine stops the monotonic clock: from inside it looks the same as a clock set forward.
  if (isSuspect(stepMs)) return 'clock-suspect';
  return last.coverage === 'engine-down' ? 'engine-down' : 'agent-down';
}

/** A stretch without reports, Unix milliseconds. */
export interface Gap {
  readonly fromMs: number;
  readonly toMs: number;
  readonly reason: GapReason;
}

/** The entry for a stretch that nobody watched, with what the containers' own records still tell about it. */
export function coverageGap(gap: Gap, containers: Iterable<ObservedContainer>): StatementOf<'coverage.gap'> {
  // A clock that was set back in between leaves no stretch, only the fact.
  const fromMs = Math.min(gap.fromMs, gap.toMs);
  const rebuilt = rebuildGap(containers, fromMs, gap.toMs)
    .slice(0, limits.maxRebuiltPerGap)
    .map((life) => ({ ...life, name: clip(life.name) }));
  return {
    kind: 'coverage.gap',
    body: { from: rfc3339(fromMs), to: rfc3339(gap.toMs), reason: gap.reason, rebuilt },
  };
}

/** Two stretches of dropped reports as one, when the second follows the first; else undefined. */
export function joinDropped(
  first: Statement | undefined,
  second: StatementOf<'coverage.gap'>,
): StatementOf<'coverage.gap'> | undefined {
  if (first?.kind !== 'coverage.gap' || first.body.reason !== 'dropped' || second.body.reason !== 'dropped')
    return undefined;
  return first.body.to === second.body.from
    ? { ...second, body: { ...second.body, from: first.body.from } }
    : undefined;
}

function isSuspect(ms: number): boolean {
  return Math.abs(ms) > limits.clockSuspectMs;
}
