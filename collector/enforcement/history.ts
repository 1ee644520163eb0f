import { type Attempt, heldByAttempts } from '../../common/enforcement/attempts.ts';
import { cameToNothing, type PastOrder } from '../../common/enforcement/governance.ts';
import { rejectedHold } from '../../common/enforcement/measures.ts';
import { limits } from '../../common/limits.ts';
import { driftDigest } from '../../common/order.ts';
import { countedApprovals } from './counted-approvals.ts';
import type { OpenDrift, StoredOrder } from './ports.ts';
import type { Hold, Situation } from './situation.ts';

type ResultBody = Extract<StoredOrder['events'][number]['said'], { kind: 'order.result' }>['body'];

interface Told {
  readonly outcome: ResultBody['outcome'];
  readonly atMs: number;
  readonly body: ResultBody;
}

/** What the order's node has said of it, oldest first. */
function resultsOf({ events }: StoredOrder): readonly Told[] {
  return events.flatMap(({ said, atMs }) =>
    said.kind === 'order.result' ? [{ outcome: said.body.outcome, atMs, body: said.body }] : [],
  );
}

const issuedMs = ({ order }: StoredOrder): number => Date.parse(order.issuedAt);
const expiresMs = ({ order }: StoredOrder): number => Date.parse(order.expiresAt);

/** When it had as many approvals as it asks for; undefined while it lacks some. */
function releasedMs(stored: StoredOrder): number | undefined {
  const approved = countedApprovals(stored).slice(0, stored.order.approvals);
  if (approved.length < stored.order.approvals) return undefined;
  return Math.max(issuedMs(stored), ...approved.map(({ atMs }) => atMs));
}

/** Outcomes of orders that were begun. */
const begun: ReadonlySet<string> = new Set(['executed', 'failed', 'verified', 'relapsed']);

/**
 * Orders that their node has begun, or may have: one that it has not answered counts, an order that it refused does not. Times are
 * as late as they can have been, by the collector's clock, so that a limit is rather kept too long than broken.
 */
export function begunOrders(orders: readonly StoredOrder[], nowMs: number): readonly PastOrder[] {
  return orders.flatMap((stored) => {
    const atMs = begunMs(stored);
    if (atMs === undefined) return [];
    const { action, container, containerId } = stored.order;
    const failed = cameToNothing(action, stored.status);
    return [{ action, container, containerId, atMs: Math.min(atMs, nowMs), failed }];
  });
}

function begunMs(stored: StoredOrder): number | undefined {
  const results = resultsOf(stored);
  const first = results.find(({ outcome }) => begun.has(outcome));
  // The node's clock may be wrong by years; nothing is begun before it is issued, or after it has expired.
  if (first !== undefined) return Math.min(Math.max(first.atMs, issuedMs(stored)), expiresMs(stored));
  if (results.length > 0 || stored.status === 'rejected') return undefined;
  return releasedMs(stored) ?? (stored.status === 'requested' ? issuedMs(stored) : undefined);
}

/**
 * When rules and the node itself issued orders, Unix milliseconds, and operators those that were begun. The day's limit counts
 * them all: a node that opens drifts and refuses every order must not have the ledger filled either.
 */
export function countedMs(orders: readonly StoredOrder[]): readonly number[] {
  const counted = orders.filter((stored) => stored.order.origin !== 'operator' || begunMs(stored) !== undefined);
  return counted.map((stored) => begunMs(stored) ?? issuedMs(stored));
}

/** What earlier orders hold up: those under way on the container, and those that came to nothing for the same drift. */
export function heldByHistory(open: OpenDrift, at: Situation): Hold | undefined {
  const { container, containerId } = open.drift;
  const onIt = at.orders.filter(
    ({ order }) => order.container === container || (containerId !== null && order.containerId === containerId),
  );
  for (const stored of onIt) {
    const hold = underWay(stored, at.nowMs);
    if (hold !== undefined) return hold;
  }
  return afterAttempts(open, at);
}

/** How long a node may be at an order that it began in the last moment before it expired. */
const atWorkMs: Readonly<Record<StoredOrder['order']['action'], number>> = {
  terminate: 0,
  quarantine: 0,
  release: 0,
  restore: limits.healthyWithinMs + limits.stopGraceMs,
  rollback: limits.healthyWithinMs + limits.stopGraceMs,
};

function underWay(stored: StoredOrder, nowMs: number): Hold | undefined {
  const [untilMs, name] = [expiresMs(stored), stored.hash.slice(0, 12)];
  if (stored.status === 'requested' && nowMs < untilMs) {
    return { code: 'pending', reason: `order ${name} is not answered yet`, untilMs };
  }
  // Nobody has said that it was not begun.
  const unanswered = resultsOf(stored).length === 0 && stored.status !== 'rejected';
  const overMs = untilMs + atWorkMs[stored.order.action];
  if (!unanswered || releasedMs(stored) === undefined || nowMs >= overMs) return undefined;
  return { code: 'pending', reason: `order ${name} may still be under way`, untilMs: overMs };
}

/**
 * Orders by the same manifest for exactly this drift: under a new commit, or for a drift that has changed, everything is tried
 * anew.
 */
function afterAttempts(open: OpenDrift, at: Situation): Hold | undefined {
  const { nowMs, manifest } = at;
  const digest = driftDigest(open.drift);
  const same = at.orders.filter(
    ({ order }) => order.drift?.digest === digest && order.origin !== 'operator' && order.commit === manifest.commit,
  );
  const now = same.filter(({ index }) => index > open.openedIndex);
  if (now.some(({ status }) => status === 'rejected')) {
    return rejectedHold;
  }
  const tried = attemptsOf(same, now, nowMs);
  return heldByAttempts(tried, manifest.policy.rollback, nowMs) ?? afterRefusals(open, now, at);
}

/** After a quarantine the container is there as before; that nothing is done about it is governance's concern. */
function executedMs(stored: StoredOrder): number | undefined {
  if (stored.order.action === 'quarantine' || stored.status !== 'executed') return undefined;
  return begunMs(stored);
}

/** What failed before the drift opened is over. What came back has failed, however often it went. */
function attemptsOf(same: readonly StoredOrder[], now: readonly StoredOrder[], nowMs: number): readonly Attempt[] {
  const begun = [
    ...now.filter((stored) => stored.status === 'failed' || executedMs(stored) !== undefined),
    ...same.filter(({ status }) => status === 'relapsed'),
  ];
  return begun.map((stored) => ({ executedMs: executedMs(stored), lastWordMs: lastWordMs(stored, nowMs) }));
}

/** What was refused may be permitted later, and nobody tells when. */
function afterRefusals(open: OpenDrift, now: readonly StoredOrder[], { nowMs, manifest }: Situation): Hold | undefined {
  const refused = now.filter(({ status }) => status === 'refused' || status === 'expired');
  if (refused.length === 0) return undefined;
  const firstMs = Math.max(limits.refusedRetryMinMs, manifest.policy.rollback.retryDelayMs);
  const again = refused.filter((stored) => !wentAway(stored, open)).length - 1;
  const delayMs = Math.min(limits.refusedRetryMaxMs, firstMs * 2 ** Math.min(Math.max(again, 0), 30));
  const untilMs = Math.max(...refused.map((stored) => lastWordMs(stored, nowMs))) + delayMs;
  if (nowMs >= untilMs) return undefined;
  const said = refused.flatMap((stored) => resultsOf(stored)).at(-1)?.body.reason ?? 'nobody has answered it in time';
  return { code: 'retry', reason: `the last order came to nothing: ${said}`.slice(0, limits.maxOwnTextChars), untilMs };
}

/**
 * Whether the container was gone when the order came to it, and the drift is about another one by now: whoever makes containers of a
 * name in a loop must not slow down the answer to the last of them.
 */
function wentAway(stored: StoredOrder, { drift }: OpenDrift): boolean {
  return stored.order.containerId !== drift.containerId && resultsOf(stored).at(-1)?.body.code === 'gone';
}

/** As {@link begunOrders} reads a node's clock; without a word, when it expired. */
function lastWordMs(stored: StoredOrder, nowMs: number): number {
  const told = resultsOf(stored).at(-1)?.atMs ?? expiresMs(stored);
  return Math.min(Math.max(told, issuedMs(stored)), nowMs);
}
