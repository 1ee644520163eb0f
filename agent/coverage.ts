import { rfc3339 } from '../common/clock.ts';
import { clip } from '../common/fields.ts';
import type { Body, StatementOf } from '../common/kinds.ts';
import { limits } from '../common/limits.ts';
import type { ObservedContainer } from '../common/observed.ts';
import { rebuildGap } from './docker/gap.ts';

/** What is known of one scan interval when its report is written. */
export interface ScanCircumstances {
  readonly engineUp: boolean;
  /** How long after the start of its interval the scan began. */
  readonly delayMs: number;
  /** Collector's clock minus ours, once known. */
  readonly clockOffsetMs: number | undefined;
  /** Whether our clock stands before an interval that was already reported. */
  readonly wentBack: boolean;
}

/** What the interval counts as. What is most wrong is said first: nobody looked, the time is doubtful, it was late. */
export function coverageOf(scan: ScanCircumstances): Body<'report'>['coverage'] {
  if (!scan.engineUp) return 'engine-down';
  if (scan.wentBack || Math.abs(scan.clockOffsetMs ?? 0) > limits.clockSuspectMs) return 'clock-suspect';
  return scan.delayMs > limits.lateScanMs ? 'late' : 'observed';
}

/** The entry for a stretch that nobody watched, with what the containers' own records still tell about it. */
export function coverageGap(
  gap: { readonly fromMs: number; readonly toMs: number; readonly reason: Body<'coverage.gap'>['reason'] },
  containers: Iterable<ObservedContainer>,
): StatementOf<'coverage.gap'> {
  const rebuilt = rebuildGap(containers, gap.fromMs, gap.toMs)
    .slice(0, limits.maxRebuiltPerGap)
    .map((life) => ({ ...life, name: clip(life.name) }));
  return {
    kind: 'coverage.gap',
    body: { from: rfc3339(gap.fromMs), to: rfc3339(gap.toMs), reason: gap.reason, rebuilt },
  };
}
