import { z } from 'zod';
import { count, foreignText, ownText, timestamp } from './fields.ts';
import { integrityStatuses, worstStatus } from './integrity-report.ts';
import { limits } from './limits.ts';

const columnName = z.string().max(63);
const cell = foreignText.nullable();

const differingRow = z
  .strictObject({
    problem: z.enum(['missing', 'extra', 'changed']),
    key: z.record(columnName, cell),
    index: count.nullable().describe('the entry that the right value comes from'),
    columns: z
      .array(z.strictObject({ column: columnName, stored: cell, rebuilt: cell }))
      .max(limits.maxProjectionColumns),
  })
  .describe('a row that is not what the entries say; values are cut');

const comparedTable = z.strictObject({
  table: columnName,
  stored: count,
  rebuilt: count,
  differing: count,
  rows: z
    .array(differingRow)
    .max(limits.maxDifferingRows)
    .describe('the first of them; in a ledger entry always empty'),
});

/** What a check of the whole ledger, and of what is derived from it, came to. */
export const ledgerCheck = z.strictObject({
  origin: ownText,
  status: z.enum(integrityStatuses),
  startedAt: timestamp,
  durationMs: count,
  verified: z
    .strictObject({
      size: count.describe('entries that are in order, from the first one on'),
      root: z.base64().length(44).nullable().describe('of those entries; null when there is a fault'),
      authors: count,
      batches: count,
      tiles: count,
      erased: count.describe('of those entries, without a body since retention dropped it'),
      checkpoint: count
        .nullable()
        .describe('size of the checkpoint kept outside the database that they had to contain; null without one'),
      durationMs: count,
    })
    .nullable()
    .describe('as "ledger verify"; null when it could not be made'),
  fault: z
    .strictObject({ fault: z.string().max(32), index: count.nullable(), message: ownText })
    .nullable()
    .describe('the first thing that is wrong with the ledger'),
  projections: z
    .strictObject({
      size: count,
      from: count.describe('where rebuilding began: 0, or where the last erasure ended'),
      durationMs: count,
      tables: z.array(comparedTable).max(limits.maxProjections),
    })
    .nullable()
    .describe('as "ledger replay --check"; null when they could not be rebuilt'),
  error: z
    .strictObject({ code: z.string().max(64), message: ownText })
    .nullable()
    .describe('what kept a part of it from being checked'),
});

export type LedgerCheck = z.infer<typeof ledgerCheck>;
export type ComparedTable = z.infer<typeof comparedTable>;

/** How many things a check has found: a fault, and rows that differ. */
export function ledgerFindings({ fault, projections }: Pick<LedgerCheck, 'fault' | 'projections'>): number {
  const differing = projections?.tables.reduce((sum, table) => sum + table.differing, 0) ?? 0;
  return differing + (fault === null ? 0 : 1);
}

/** What could not be checked weighs more than what was found. */
export function ledgerStatus(check: Pick<LedgerCheck, 'fault' | 'projections' | 'error'>): LedgerCheck['status'] {
  return worstStatus([check.error === null ? 'ok' : 'unchecked', ledgerFindings(check) === 0 ? 'ok' : 'findings']);
}
