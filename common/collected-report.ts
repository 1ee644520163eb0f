import { z } from 'zod';
import { count, foreignText, hex64, nodeName, timestamp } from './fields.ts';
import { integrityStatuses, reportedFinding, reportId, storeCounts } from './integrity-report.ts';
import { ledgerCheck } from './ledger-check.ts';
import { limits } from './limits.ts';

const collectedStore = z.strictObject({
  store: foreignText,
  status: z.enum(integrityStatuses),
  counts: storeCounts.nullable().describe('null when the store could not be read'),
  findings: z.array(reportedFinding).max(limits.maxReportFindings),
  moreFindings: count.describe('findings that the node has counted and that are not listed'),
});

/**
 * A report as the collector has it: its own, of the ledger, as it was written when the run ended; or one that it composes of what the
 * ledger holds. Published as `docs/collected-report.schema.json`.
 */
export const collectedReport = z
  .strictObject({
    version: z.literal(1),
    id: reportId.describe('as its author named it; only with the author it names one report'),
    author: nodeName.describe('the node, or "collector"'),
    startedAt: timestamp,
    finishedAt: timestamp,
    status: z.enum(integrityStatuses),
    composed: z
      .strictObject({
        index: count.describe('of the entry, integrity.report of a node or ledger.checked'),
        sha256: hex64.nullable().describe('of the report that its author has archived'),
      })
      .nullable()
      .describe(
        'what it was composed of: the entry, and the findings that stood in the ledger then; null for a report as it was archived',
      ),
    stores: z.array(collectedStore).max(limits.maxStores),
    ledger: ledgerCheck.nullable().describe('null in the report of a node'),
  })
  .meta({ title: 'Sigilwatch integrity report, as the collector has it' });

export type CollectedReport = z.infer<typeof collectedReport>;
export type CollectedStore = CollectedReport['stores'][number];

/** JSON Schema (draft 2020-12) of these reports. */
export function collectedReportJsonSchema(): unknown {
  return z.toJSONSchema(collectedReport);
}
