import { z } from 'zod';
import { limits } from '../../../common/limits.ts';
import { ruleNames } from '../catalog.ts';

const dayMs = 86_400_000;

const waitMs = (defaultMs: number, { minMs = 0, maxMs = 7 * dayMs }: { minMs?: number; maxMs?: number } = {}) =>
  z.int().min(minMs).max(maxMs).default(defaultMs);

const percent = (of: number) => z.number().min(0).max(90).default(of);

/** When the rules begin to speak. Several collectors of a database need the same here. */
export const ruleSettings = z.strictObject({
  off: z.array(z.enum(ruleNames)).default([]).describe('Rules that raise nothing'),
  driftMs: waitMs(limits.alertDriftMs).describe('How long a drift may stand before people are told'),
  coverageMs: waitMs(limits.alertCoverageMs, { minMs: 60_000 }).describe(
    'For how long people are told of what a node has not watched, or its agent has dropped',
  ),
  gapMs: waitMs(limits.alertGapMs).describe('Gaps of a node within that time that are shorter in all are no news'),
  unwitnessedMs: waitMs(limits.alertUnwitnessedMs, { minMs: limits.maxUnwitnessedMs }).describe(
    'How long the ledger may grow without a quorum of witnesses',
  ),
  forkMs: waitMs(limits.alertForkMs, { minMs: 60_000 }).describe(
    'For how long people are told of a fork that was released, and of an equivocation',
  ),
  approvalMs: waitMs(limits.alertApprovalMs).describe('How long an order may wait for approvals'),
  integrityMs: waitMs(limits.alertIntegrityMs, { minMs: 3_600_000, maxMs: 400 * dayMs }).describe(
    'How long the last integrity run of a node may be ago; more than its schedule lets pass',
  ),
  ledgerCheckMs: waitMs(limits.alertLedgerCheckMs, { minMs: 3_600_000, maxMs: 400 * dayMs }).describe(
    'How long the last check of the ledger that came to an end may be ago; more than its schedule lets pass',
  ),
  deadLetterMs: waitMs(limits.alertDeadLetterMs, { minMs: 60_000 }).describe(
    'For how long people are told of a notification that was given up',
  ),
  diskWarningPercent: percent(limits.alertDiskWarningPercent).describe(
    "Less free than this on the file system of a node's data directory is a warning",
  ),
  diskErrorPercent: percent(limits.alertDiskErrorPercent).describe('and less than this an error'),
});

export type RuleSettings = z.output<typeof ruleSettings>;
