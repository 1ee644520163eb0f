import { z } from 'zod';
import { limits } from '../limits.ts';
import type { orderActions } from '../order.ts';
import { flag, period, text } from './values.ts';

const seconds = (bounds: { readonly minMs?: number; readonly maxMs: number }) => period({ unit: 'seconds', ...bounds });

const approvalCount = z.int().min(0).max(limits.maxApprovals).default(0);

/** The manifest's key `governance`: how far orders may go. What is not written has a careful default. */
export const governance = z
  .strictObject({
    /** Orders on one node in any 24 hours. */
    daily_limit: z.int().min(0).max(limits.maxDailyOrders).default(limits.defaultDailyOrders),
    /** Between two orders on containers of one name. */
    cooldown: seconds({ maxMs: limits.maxGracePeriodMs }).default(limits.defaultCooldownMs),
    /** Percent of a node's containers that orders may take down within `limits.blastWindowMs`; one is always allowed. */
    blast_radius: z.number().min(0).max(100).default(limits.defaultBlastPercent),
    /** Signatures that an order of each action needs. */
    approvals: z
      .strictObject({
        terminate: approvalCount,
        restore: approvalCount,
        rollback: approvalCount,
        quarantine: approvalCount,
        release: approvalCount,
      } satisfies Record<(typeof orderActions)[number], unknown>)
      .prefault({}),
    /** Who may approve, by their names in `allowed_signers`; everybody there when none is named. */
    approvers: z.array(text).max(limits.maxApprovers).default([]),
    /** How long an order waits for approvals, and for witnesses. */
    approval_time: seconds({ minMs: limits.minOrderLifetimeMs, maxMs: limits.maxOrderLifetimeMs }).default(
      limits.defaultApprovalMs,
    ),
    /** Nodes that begin to drift the same way right after one commit, from which the commit is suspected and orders freeze. */
    freeze_nodes: z.int().min(2).max(limits.maxFreezeNodes).default(limits.defaultFreezeNodes),
    /** For how long after a node has adopted a commit its drifts are watched before anything is ordered. */
    settling_time: seconds({ maxMs: limits.maxGracePeriodMs }).default(limits.defaultSettlingMs),
    /** Whether orders need the cosignatures of a quorum of the witnesses that the manifest pins. */
    witnessed_orders: flag.default(false),
    /** What a node does that is cut off from the collector. */
    when_offline: z.enum(['hold', 'local']).default('hold'),
    /** How long it has to be cut off before it acts by itself. */
    offline_after: seconds({ minMs: limits.minOfflineAfterMs, maxMs: limits.maxGracePeriodMs }).default(
      limits.defaultOfflineAfterMs,
    ),
  })
  .transform(({ cooldown, approval_time, settling_time, offline_after, ...others }) => ({
    ...others,
    cooldown_ms: cooldown,
    approval_time_ms: approval_time,
    settling_time_ms: settling_time,
    offline_after_ms: offline_after,
  }));

export type Governance = z.output<typeof governance>;
