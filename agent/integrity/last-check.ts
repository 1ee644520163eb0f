import { z } from 'zod';
import { rfc3339 } from '../../common/clock.ts';
import { count, timestamp } from '../../common/fields.ts';
import { integrityStatuses } from '../../common/integrity-report.ts';
import { checkStatus, type StoreCheck } from './store-check.ts';

/** What is remembered of a store's last full check, over restarts. */
export const lastCheck = z.strictObject({
  status: z.enum(integrityStatuses),
  finishedAt: timestamp,
  durationMs: count,
  checkedRecords: count,
  /** Findings that stood after it: failed checks of records, and bad places in files. */
  findings: count,
  /** When a check last ended with nothing found. */
  lastOkAt: timestamp.nullable(),
});

export type LastCheck = z.infer<typeof lastCheck>;

/** @param finishedMs Unix milliseconds */
export function rememberedCheck(check: StoreCheck, before: LastCheck | undefined, finishedMs: number): LastCheck {
  const status = checkStatus(check);
  const finishedAt = rfc3339(finishedMs);
  return {
    status,
    finishedAt,
    durationMs: Math.round(check.durationMs),
    checkedRecords: check.counts?.records ?? 0,
    findings: check.findings.length + check.moreFindings,
    lastOkAt: status === 'ok' ? finishedAt : (before?.lastOkAt ?? null),
  };
}
