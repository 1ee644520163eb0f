import { z } from 'zod';
import { rfc3339 } from './clock.ts';
import { count, foreignText, nodeName, ownText, timestamp } from './fields.ts';
import { limits } from './limits.ts';
import { sigilFinding } from './sigil.ts';

/**
 * What an integrity run came to, for a store and for all of them. `unchecked`: something could not be looked at, so that
 * nothing is known of it; what was found elsewhere is listed all the same.
 */
export const integrityStatuses = ['ok', 'findings', 'unchecked'] as const;
export type IntegrityStatus = (typeof integrityStatuses)[number];

/** When the run began, in UTC to the millisecond, and eight random hex digits: sorts by time, and is safe in paths. */
export const reportId = z.string().regex(/^\d{8}T\d{9}Z-[0-9a-f]{8}$/, 'the id of an integrity report');

/**
 * @param startedMs when the run begins, Unix milliseconds
 * @param randomBytes so many random bytes
 */
export function newReportId(startedMs: number, randomBytes: (count: number) => Buffer): string {
  return `${rfc3339(startedMs).replace(/[-:.]/g, '')}-${randomBytes(4).toString('hex')}`;
}

/** Table blocks and bytes exclude meta blocks; `records` counts stored versions, not keys. */
export const storeCounts = z.strictObject({
  tables: count,
  blocks: count,
  bytes: count,
  records: count,
  sigils: count,
});

/** When a snapshot was taken, in UTC to the millisecond: sorts by time, and is safe in paths. */
export const snapshotId = z.string().regex(/^\d{8}T\d{9}Z$/, 'the id of a snapshot');

const lastGood = z.strictObject({ snapshot: snapshotId, at: timestamp });

/** Where a good copy of a record is. */
export type LastGood = z.infer<typeof lastGood>;

const recordInPlace = z.strictObject({
  key: foreignText,
  lastGood: lastGood.nullable(),
  updatedAt: foreignText.optional().describe('of a sigil, by the inventory'),
});

const recordsInPlace = z.strictObject({
  by: z
    .literal('inventory')
    .optional()
    .describe("there when no kept snapshot can say, and the keys are by the agent's inventory, which has sigils alone"),
  snapshot: snapshotId.nullable().describe('newest that is not damaged in the range; null by the inventory'),
  at: timestamp.describe('when the snapshot was taken, or the inventory written'),
  keys: z
    .array(recordInPlace)
    .max(limits.maxKeysOfPlace)
    .describe(
      'in their order, each with the newest snapshot that has it passing all checks; by the inventory none has',
    ),
  moreKeys: count.describe('keys that are not listed, since there are too many'),
  isWhole: z.boolean().describe('false: there may be more than moreKeys says'),
});

/** Which records were in a bad place of a file, by a snapshot or by the inventory. */
export type RecordsInPlace = z.infer<typeof recordsInPlace>;

export const reportedFinding = sigilFinding
  .extend({
    firstSeen: timestamp.describe('start of the run that found it first, as far back as reports are kept'),
    lastGood: lastGood
      .nullable()
      .optional()
      .describe('newest snapshot with the record as it passes all checks, if any is kept; earlier reports do not say'),
    records: recordsInPlace
      .nullable()
      .optional()
      .describe(
        'records in the key range of a bad place; null when neither a kept snapshot nor the inventory can say, absent when none was asked',
      ),
  })
  .describe('one failed check of one record (key), or of one place in a store file (file, offset, keyRange)');

const reportedStore = z.strictObject({
  store: foreignText,
  status: z.enum(integrityStatuses),
  startedAt: timestamp,
  durationMs: count,
  counts: storeCounts.nullable().describe('null when the store could not be read'),
  resumed: z
    .strictObject({ startedAt: timestamp, records: count })
    .nullable()
    .optional()
    .describe(
      'check that was cut short and gone on with: its beginning, and the records it had read, which counts include',
    ),
  rates: z.strictObject({ recordsPerSecond: count, bytesPerSecond: count }).nullable(),
  findings: z.array(reportedFinding).max(limits.maxReportFindings),
  moreFindings: count.describe('findings that are not listed, since there are too many'),
  error: z
    .strictObject({ code: z.string().max(64), message: ownText })
    .nullable()
    .describe('what kept the store, or a part of it, from being checked'),
});

/** One run over the sigil stores of a node. Published as `docs/integrity-report.schema.json`. */
export const integrityReport = z
  .strictObject({
    version: z.literal(1),
    id: reportId,
    node: nodeName,
    startedAt: timestamp,
    finishedAt: timestamp,
    status: z.enum(integrityStatuses),
    eventSecrets: z
      .int()
      .min(0)
      .max(2)
      .describe('secrets that signatures were checked with; without one, no more than that they are there is known'),
    stores: z.array(reportedStore).max(limits.maxStores),
  })
  .meta({ title: 'Sigilwatch integrity report' });

export type IntegrityReport = z.infer<typeof integrityReport>;
export type ReportedStore = IntegrityReport['stores'][number];
export type ReportedFinding = ReportedStore['findings'][number];

/** The worst of them: what could not be checked weighs more than what was found. */
export function worstStatus(statuses: readonly IntegrityStatus[]): IntegrityStatus {
  if (statuses.includes('unchecked')) return 'unchecked';
  return statuses.includes('findings') ? 'findings' : 'ok';
}

/** All findings of a store, listed or not. */
export function findingsOf({ findings, moreFindings }: ReportedStore): number {
  return findings.length + moreFindings;
}

/** JSON Schema (draft 2020-12) of reports. */
export function integrityReportJsonSchema(): unknown {
  return z.toJSONSchema(integrityReport);
}
