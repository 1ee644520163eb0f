import type { AppError } from '../../common/errors.ts';
import type { IntegrityStatus } from '../../common/integrity-report.ts';
import type { SigilFinding } from '../../common/sigil.ts';
import { unchecked } from '../sigils/full-scan.ts';
import type { ResumedScan } from '../sigils/inventory/taking.ts';
import type { ScanResult } from '../sigils/scan.ts';
import type { ScanCounts } from '../sigils/scan-counts.ts';

/** What a look at all of one store came to. */
export interface StoreCheck {
  readonly store: string;
  /** RFC 3339 UTC. */
  readonly startedAt: string;
  readonly durationMs: number;
  /** Null when the store could not be read. */
  readonly counts: ScanCounts | null;
  /** What stands after it, new or not; of an unreadable store, what stood before. */
  readonly findings: readonly SigilFinding[];
  /** Findings beyond the bound. */
  readonly moreFindings: number;
  /** What kept the store, or a part of it, from being checked. */
  readonly error: AppError | undefined;
  /** The check that was cut short, and that this one has gone on with; null when there was none. */
  readonly resumed: ResumedScan | null;
}

/** @param standing findings that stand after the scan */
export function checkDone(result: ScanResult, standing: readonly SigilFinding[]): StoreCheck {
  const { store, startedAt, durationMs, tables, blocks, bytes, records, sigils, moreFindings } = result;
  const counts = { tables, blocks, bytes, records, sigils };
  const resumed = result.inventory?.resumed ?? null;
  return { store, startedAt, durationMs, counts, findings: standing, moreFindings, error: unchecked(result), resumed };
}

/** The check of a store that could not be read. */
export function checkFailed(
  { store, startedAt, durationMs }: Pick<StoreCheck, 'store' | 'startedAt' | 'durationMs'>,
  error: AppError,
  standing: readonly SigilFinding[],
): StoreCheck {
  return { store, startedAt, durationMs, counts: null, findings: standing, moreFindings: 0, error, resumed: null };
}

export function checkStatus({ error, findings, moreFindings }: StoreCheck): IntegrityStatus {
  if (error !== undefined) return 'unchecked';
  return findings.length + moreFindings > 0 ? 'findings' : 'ok';
}
