import { rfc3339 } from '../../common/clock.ts';
import type { DriftKind } from '../../common/drift-kind.ts';
import { limitedBy, type PastOrder, runs } from '../../common/enforcement/governance.ts';
import { approvalsNeeded } from '../../common/enforcement/policy.ts';
import { wantedOf } from '../../common/enforcement/wanted.ts';
import { limits } from '../../common/limits.ts';
import { driftDigest, type OrderAction } from '../../common/order.ts';
import { begunOrders, countedMs } from './history.ts';
import { actionOf, holdOf } from './holds.ts';
import type { OpenDrift } from './ports.ts';
import { lastReplica } from './replicas.ts';
import type { HeldDrift, Hold, Plan, PlannedOrder, Situation } from './situation.ts';

/** A drift that nothing holds up, taken by itself. */
interface Ripe {
  readonly open: OpenDrift;
  readonly action: OrderAction;
}

/** Orders that count for the limits: those of before, and those of this plan. */
interface Counted {
  readonly begun: PastOrder[];
  /** When orders were issued, as far as the day's limit counts them; Unix milliseconds. */
  readonly dayMs: number[];
}

/**
 * Decides what is ordered on one node now, and says of every other drift why not. Pure: the same situation gives the same
 * plan, in whatever order its parts are told.
 */
export function plan(situation: Situation): Plan {
  const at = { ...situation, orders: [...situation.orders].sort((a, b) => a.index - b.index) };
  const held: HeldDrift[] = [];
  const ripe: Ripe[] = [];
  for (const open of [...at.drifts].sort(byAge)) {
    const [hold, action] = [holdOf(open, at), actionOf(open, at)];
    if (hold !== undefined) held.push({ drift: open, ...hold });
    else if (action !== undefined) ripe.push({ open, action });
  }
  const orders: PlannedOrder[] = [];
  const counted: Counted = { begun: [...begunOrders(at.orders, at.nowMs)], dayMs: [...countedMs(at.orders)] };
  for (const [first, ...others] of together(ripe)) {
    if (first === undefined) continue;
    const hold = limitHolding(first, at, counted);
    if (hold !== undefined) {
      held.push(...[first, ...others].map(({ open }) => ({ drift: open, ...hold })));
      continue;
    }
    const order = orderFor(first, at);
    orders.push(order);
    held.push(...others.map(({ open }) => ({ drift: open, ...coveredBy(first) })));
    const { action, container, containerId } = order;
    counted.begun.push({ action, container, containerId, atMs: at.nowMs });
    counted.dayMs.push(at.nowMs);
  }
  return { orders, held };
}

function byAge(a: OpenDrift, b: OpenDrift): number {
  return a.openedIndex - b.openedIndex || (a.drift.id < b.drift.id ? -1 : 1);
}

/** What one order answers at once, first the drift that it is for. A container that is made anew has neither of the others. */
const precedence: readonly DriftKind[] = ['MISSING_CONTAINER', 'IMAGE_DRIFT', 'CONFIG_DRIFT', 'UNAUTHORIZED_CONTAINER'];

/** Drifts of one container, the one with the oldest drift first. */
function together(ripe: readonly Ripe[]): readonly (readonly Ripe[])[] {
  const groups = new Map<string, Ripe[]>();
  for (const one of ripe) {
    const { container } = one.open.drift;
    groups.set(container, [...(groups.get(container) ?? []), one]);
  }
  const rank = ({ open }: Ripe) => precedence.indexOf(open.drift.kind);
  return [...groups.values()].map((group) => group.sort((a, b) => rank(a) - rank(b)));
}

function coveredBy({ open, action }: Ripe): Hold {
  return { code: 'covered', reason: `the ${action} for ${open.drift.kind} answers it too` };
}

function limitHolding(one: Ripe, at: Situation, counted: Counted): Hold | undefined {
  const { container, containerId } = one.open.drift;
  const { governance } = at.manifest.policy;
  const limited = limitedBy({ action: one.action, container, containerId, origin: 'rule' }, governance, {
    ...{ past: counted.begun, containers: containersLeft(at, counted), nowMs: at.nowMs },
  });
  if (limited !== undefined) return { code: limited.limit, reason: limited.reason, untilMs: limited.untilMs };
  return dayIsFull(at, counted) ?? endangered(one, at);
}

/**
 * Governance adds those that were terminated to those that are there. An order that is only on its way has terminated nothing
 * yet, so that its container must not be among both.
 */
function containersLeft({ node, drifts, nowMs }: Situation, { begun }: Counted): number {
  const there = new Set(drifts.filter(isOfRunning).map(({ drift }) => drift.containerId));
  const doomed = begun.filter(
    ({ action, containerId, atMs }) =>
      action === 'terminate' && nowMs - atMs < limits.blastWindowMs && there.has(containerId),
  );
  return Math.max(0, node.containers - new Set(doomed.map(({ containerId }) => containerId)).size);
}

function isOfRunning({ drift: { kind, differences } }: OpenDrift): boolean {
  const state = differences.find(({ field }) => field === 'state')?.observed ?? null;
  return kind !== 'UNAUTHORIZED_CONTAINER' || state === null || runs({ state });
}

/** Stricter than the node, which counts what it has begun and not what it refused. */
export function dayIsFull(
  { manifest, nowMs }: Pick<Situation, 'manifest' | 'nowMs'>,
  { dayMs }: { readonly dayMs: readonly number[] },
): Hold | undefined {
  const { daily_limit } = manifest.policy.governance;
  const today = ofToday(dayMs, nowMs);
  const oldestMs = today[today.length - daily_limit];
  if (today.length < daily_limit) return undefined;
  return {
    code: 'daily_limit',
    reason: `${today.length} orders in the last 24 hours, and governance.daily_limit is ${daily_limit}`,
    untilMs: oldestMs === undefined ? undefined : oldestMs + limits.dailyWindowMs,
  };
}

/** Of moments, those within the last 24 hours, oldest first. */
export function ofToday(dayMs: readonly number[], nowMs: number): readonly number[] {
  return dayMs.filter((ms) => nowMs - ms < limits.dailyWindowMs).sort((a, b) => a - b);
}

/** Others are seen by other nodes, whose events lead nobody here. */
function endangered({ open, action }: Ripe, { replicas, node, nowMs }: Situation): Hold | undefined {
  const { container, kind } = open.drift;
  const reason = lastReplica({ node: node.node, action, container, kind }, replicas.get(container) ?? []);
  return reason === undefined ? undefined : { code: 'last_replica', reason, untilMs: nowMs + limits.enforcementLookMs };
}

function orderFor({ open, action }: Ripe, { node, manifest, nowMs }: Situation): PlannedOrder {
  const { drift } = open;
  const { policy, commit } = manifest;
  const approvals = approvalsNeeded(policy, { action, origin: 'rule' });
  const alone = policy.witnesses === undefined ? limits.orderLifetimeMs : limits.witnessedOrderLifetimeMs;
  const lifetimeMs = approvals > 0 ? policy.governance.approval_time_ms : alone;
  return {
    node: node.node,
    action,
    container: drift.container,
    containerId: drift.containerId,
    drift: { id: drift.id, kind: drift.kind, digest: driftDigest(drift) },
    commit,
    origin: 'rule',
    by: policy.answers[drift.kind].rule,
    reason: `${drift.kind} of ${drift.container} stands since ${rfc3339(open.openedAtMs)}`,
    approvals,
    issuedAt: rfc3339(nowMs),
    expiresAt: rfc3339(nowMs + lifetimeMs),
    ...wantedOf({ node: node.node, action, container: drift.container }, manifest.wanted),
  };
}
