import { rfc3339 } from '../../common/clock.ts';
import { driftKinds } from '../../common/drift-kind.ts';
import { limitedBy } from '../../common/enforcement/governance.ts';
import { windowHolding } from '../../common/enforcement/permission.ts';
import { approvalsNeeded, type EnforcementPolicy } from '../../common/enforcement/policy.ts';
import { limits } from '../../common/limits.ts';
import { windowAt } from '../../common/manifest/windows.ts';
import { begunOrders, countedMs } from './history.ts';
import { dayIsFull, ofToday } from './planner.ts';
import type { GovernedNodeRow, StandingMeasures, StoredOrder } from './ports.ts';
import type { ManifestInForce } from './situation.ts';

/*
 * How far orders may go now, told by the functions that planning and the nodes judge by.
 */

type Silences = StandingMeasures['silences'];

/** What each rule of the manifest would do with a drift now. */
export function ruleStatuses(policy: EnforcementPolicy, silences: Silences, nowMs: number) {
  return driftKinds.map((kind) => {
    const { rule, action, graceMs } = policy.answers[kind];
    const silenced = silences.filter(({ body }) => body.scope.kind === null || body.scope.kind === kind);
    return {
      rule,
      drift_kind: kind,
      action: action ?? null,
      mode: policy.mode,
      grace_seconds: graceMs / 1_000,
      approvals_needed: action === undefined ? 0 : approvalsNeeded(policy, { action, origin: 'rule' }),
      held_by_window: (action && windowHolding({ action }, policy, nowMs)) ?? null,
      silences: silenced.length,
    };
  });
}

/** The limits of the manifest that are the same for every rule. */
export function governanceLimitsOf({ governance }: EnforcementPolicy) {
  return {
    daily_limit: governance.daily_limit,
    cooldown_seconds: governance.cooldown_ms / 1_000,
    blast_radius_percent: governance.blast_radius,
    approval_seconds: governance.approval_time_ms / 1_000,
    settling_seconds: governance.settling_time_ms / 1_000,
    when_offline: governance.when_offline,
  };
}

/** Which maintenance windows there are, and which is open. */
export function windowStatuses({ windows }: EnforcementPolicy, nowMs: number) {
  return windows.map((window) => ({
    name: window.name,
    timezone: window.timezone,
    days: [...window.days],
    open: windowAt([window], nowMs) !== undefined,
  }));
}

/** From when orders have to be known to tell what a node may still do. */
export function governedSinceMs({ governance }: EnforcementPolicy, nowMs: number): number {
  return nowMs - Math.max(limits.dailyWindowMs, governance.cooldown_ms);
}

/**
 * What orders have used of a node's limits.
 * @param orders of the node, since {@link governedSinceMs}.
 */
export function nodeStatus(
  { node, adopted }: GovernedNodeRow,
  manifest: Pick<ManifestInForce, 'commit' | 'policy' | 'wanted'>,
  orders: readonly StoredOrder[],
  nowMs: number,
) {
  const { governance } = manifest.policy;
  const dayMs = countedMs(orders);
  const used = ofToday(dayMs, nowMs).length;
  const full = dayIsFull({ manifest, nowMs }, { dayMs });
  const byRule = new Map<string, number>();
  for (const stored of orders.filter((order) => ofToday(countedMs([order]), nowMs).length > 0)) {
    byRule.set(stored.order.by, (byRule.get(stored.order.by) ?? 0) + 1);
  }
  return {
    node,
    commit: adopted?.commit ?? null,
    used_today: used,
    daily_limit: governance.daily_limit,
    remaining_today: Math.max(0, governance.daily_limit - used),
    free_at: full?.untilMs === undefined ? null : rfc3339(full.untilMs),
    used_by: [...byRule].map(([by, count]) => ({ by, count })),
    cooldowns: cooldowns(orders, manifest.policy, nowMs),
  };
}

/** Containers that no rule touches for a while. Asked as of an order that no other limit holds up. */
function cooldowns(orders: readonly StoredOrder[], { governance }: EnforcementPolicy, nowMs: number) {
  const past = begunOrders(orders, nowMs);
  const unlimited = { ...governance, daily_limit: Number.POSITIVE_INFINITY, blast_radius: 100 };
  return [...new Set(past.map(({ container }) => container))].sort().flatMap((container) => {
    const wish = { action: 'restore', container, containerId: null, origin: 'rule' } as const;
    const limited = limitedBy(wish, unlimited, { past, containers: past.length, nowMs });
    return limited?.limit === 'cooldown' && limited.untilMs !== undefined
      ? [{ container, until: rfc3339(limited.untilMs) }]
      : [];
  });
}
