import { randomBytes } from 'node:crypto';
import { rfc3339 } from '../../../common/clock.ts';
import type { IntegrityReport, ReportedFinding } from '../../../common/integrity-report.ts';
import { newReportId } from '../../../common/integrity-report.ts';

/** A finding of which only the id matters. */
export function finding(id: string, firstSeen: string, over: Partial<ReportedFinding> = {}): ReportedFinding {
  return {
    id: id.repeat(32).slice(0, 32),
    check: 'checksum',
    key: `lyra!sigil!${id}`,
    keyRange: null,
    file: null,
    offset: null,
    expected: 'aa',
    actual: 'bb',
    detail: 'SHA-256 of data differs from checksum',
    firstSeen,
    ...over,
  };
}

/** A report of one store, as of a moment (Unix milliseconds). */
export function reportAt(atMs: number, findings: readonly ReportedFinding[] = []): IntegrityReport {
  const at = rfc3339(atMs);
  const status = findings.length === 0 ? 'ok' : 'findings';
  return {
    version: 1,
    id: newReportId(atMs, randomBytes),
    node: 'lyra',
    startedAt: at,
    finishedAt: at,
    status,
    eventSecrets: 1,
    stores: [
      {
        store: 'main',
        status,
        startedAt: at,
        durationMs: 1200,
        counts: { tables: 3, blocks: 1200, bytes: 5_000_000, records: 12_345, sigils: 12_000 },
        rates: { recordsPerSecond: 10_287, bytesPerSecond: 4_166_667 },
        findings: [...findings],
        moreFindings: 0,
        error: null,
      },
    ],
  };
}
