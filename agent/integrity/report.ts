import { rfc3339 } from '../../common/clock.ts';
import { type IntegrityReport, type ReportedStore, worstStatus } from '../../common/integrity-report.ts';
import { limits } from '../../common/limits.ts';
import { printable } from '../../common/printable.ts';
import { checkStatus, type StoreCheck } from './store-check.ts';

/** One run over some stores of a node. Times are Unix milliseconds. */
export interface IntegrityRun {
  readonly id: string;
  readonly node: string;
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly checks: readonly StoreCheck[];
  /** How many there were to check signatures with. */
  readonly eventSecrets: number;
}

/** @param firstSeen by finding id, RFC 3339; what is not in it was seen first by this run */
export function reportOf(run: IntegrityRun, firstSeen: ReadonlyMap<string, string>): IntegrityReport {
  const { id, node, startedMs, checks, eventSecrets } = run;
  const startedAt = rfc3339(startedMs);
  // A clock that was set back meanwhile must not make the report contradict itself.
  const finishedAt = rfc3339(Math.max(startedMs, run.finishedMs));
  const listed = Math.floor(limits.maxReportFindings / Math.max(checks.length, 1));
  const stores = checks.map((check) => storeOf(check, { listed, firstSeen, startedAt }));
  const status = worstStatus(stores.map((store) => store.status));
  return { version: 1, id, node, startedAt, finishedAt, status, eventSecrets, stores };
}

interface Listing {
  /** Findings that each store may list. */
  readonly listed: number;
  readonly firstSeen: ReadonlyMap<string, string>;
  readonly startedAt: string;
}

function storeOf(check: StoreCheck, { listed, firstSeen, startedAt }: Listing): ReportedStore {
  const { store, counts, findings, error } = check;
  const durationMs = Math.round(check.durationMs);
  const perSecond = (amount: number) => Math.round((amount * 1000) / Math.max(durationMs, 1));
  return {
    store,
    status: checkStatus(check),
    startedAt: check.startedAt,
    durationMs,
    counts,
    rates: counts && { recordsPerSecond: perSecond(counts.records), bytesPerSecond: perSecond(counts.bytes) },
    findings: findings.slice(0, listed).map((finding) => {
      return { ...finding, firstSeen: firstSeen.get(finding.id) ?? startedAt };
    }),
    moreFindings: check.moreFindings + Math.max(findings.length - listed, 0),
    error: error === undefined ? null : { code: error.code, message: shortened(error.message) },
  };
}

/** Paths are part of it, and whoever made the settings may have made them long. */
function shortened(message: string): string {
  return printable(message.slice(0, limits.maxOwnTextChars));
}
