import { limits } from '../limits.ts';
import type { Governance } from '../manifest/governance.ts';
import type { ObservedContainer } from '../observed.ts';
import type { Order, OrderAction } from '../order.ts';

/** An order that a node has begun to carry out, whatever became of it. */
export interface PastOrder {
  readonly action: OrderAction;
  readonly container: string;
  readonly containerId: string | null;
  /** When it was begun, Unix milliseconds. */
  readonly atMs: number;
  /** Whether it came to nothing, as far as is known. */
  readonly failed?: boolean;
}

/** A quarantine that somebody else has ended is one that has to be tried again. */
export function cameToNothing(action: OrderAction, status: string): boolean {
  return status === 'failed' || (action === 'quarantine' && status === 'relapsed');
}

/** Which limit an order runs into. */
export const governanceLimits = ['daily_limit', 'cooldown', 'blast_radius', 'quarantined'] as const;
export type GovernanceLimit = (typeof governanceLimits)[number];

export interface Limited {
  readonly limit: GovernanceLimit;
  readonly reason: string;
  /** When it may be different, Unix milliseconds; undefined when time alone changes nothing. */
  readonly untilMs: number | undefined;
}

/** What the limits are judged by. */
export interface GovernedNode {
  /** Orders that the node has begun, of the last `limits.dailyWindowMs` at least. */
  readonly past: readonly PastOrder[];
  /** Containers that run on the node now: see {@link runs}. */
  readonly containers: number;
  /** Unix milliseconds. */
  readonly nowMs: number;
}

/** States in which a container runs, or will again by itself. */
export const runningStates = [
  'running',
  'paused',
  'restarting',
] as const satisfies readonly ObservedContainer['state'][];

/** Whether an order can take the container down. A hundred that were made and never started are no hundred of which one may go. */
export function runs({ state }: { readonly state: string }): boolean {
  return runningStates.some((running) => running === state);
}

type Wish = Pick<Order, 'action' | 'container' | 'containerId' | 'origin'>;

/**
 * The first limit of governance that an order would run into; undefined when there is none. Pure, and the same on both sides: the
 * collector asks before it issues an order, the node before it obeys. What an operator decides and signs is held up by none of
 * the limits that are there to tame automatic orders.
 */
export function limitedBy(order: Wish, governance: Governance, node: GovernedNode): Limited | undefined {
  if (order.origin === 'operator') return undefined;
  return (
    quarantined(order, node) ??
    dailyLimit(governance, node) ??
    cooldown(order, governance, node) ??
    blast(order, governance, node)
  );
}

/** What is kept for forensics is touched by nobody but an operator. Where nobody has the name any more, there is nothing to be touched. */
function quarantined({ action: wished, containerId, container }: Wish, { past }: GovernedNode): Limited | undefined {
  const isIts = (order: PastOrder) => containerId !== null && order.containerId === containerId;
  // A release that failed has ended nothing. A quarantine that failed may have got half way, and can be tried again.
  const counts = ({ action, failed }: PastOrder) =>
    action === 'quarantine' || (action === 'release' && failed !== true);
  const last = past.filter(isIts).findLast(counts);
  if (last?.action !== 'quarantine' || (last.failed === true && wished === 'quarantine')) return undefined;
  return {
    limit: 'quarantined',
    reason: `${container} is in quarantine until an operator releases it`,
    untilMs: undefined,
  };
}

function dailyLimit({ daily_limit }: Governance, { past, nowMs }: GovernedNode): Limited | undefined {
  const today = past.filter(({ atMs }) => nowMs - atMs < limits.dailyWindowMs).sort((a, b) => a.atMs - b.atMs);
  if (today.length < daily_limit) return undefined;
  const oldest = today[today.length - daily_limit];
  return {
    limit: 'daily_limit',
    reason: `${today.length} orders in the last 24 hours, and governance.daily_limit is ${daily_limit}`,
    untilMs: oldest === undefined ? undefined : oldest.atMs + limits.dailyWindowMs,
  };
}

function cooldown(
  { container }: Wish,
  { cooldown_ms }: Governance,
  { past, nowMs }: GovernedNode,
): Limited | undefined {
  const times = past.filter((order) => order.container === container).map(({ atMs }) => atMs);
  const untilMs = Math.max(...times) + cooldown_ms;
  if (times.length === 0 || nowMs >= untilMs) return undefined;
  const seconds = Math.ceil((untilMs - nowMs) / 1_000);
  return {
    limit: 'cooldown',
    reason: `the last order on ${container} was a moment ago; the cooldown lasts ${seconds} s more`,
    untilMs,
  };
}

/** Actions after which a container that ran may run no more. */
const takesDown: ReadonlySet<OrderAction> = new Set(['terminate', 'rollback', 'quarantine']);

/** By name: a container that is replaced is still the same one to whoever depends on it. */
function blast({ action, container }: Wish, { blast_radius }: Governance, node: GovernedNode): Limited | undefined {
  const { past, containers, nowMs } = node;
  if (!takesDown.has(action)) return undefined;
  const recent = past.filter((order) => takesDown.has(order.action) && nowMs - order.atMs < limits.blastWindowMs);
  const struck = new Set([container, ...recent.map((order) => order.container)]);
  const gone = new Set(recent.filter((order) => order.action === 'terminate').map((order) => order.container));
  const all = containers + gone.size;
  if (struck.size <= Math.max(1, Math.floor((all * blast_radius) / 100))) return undefined;
  return {
    limit: 'blast_radius',
    reason: `with ${container}, orders would have struck ${struck.size} of ${all} containers within ${limits.blastWindowMs / 60_000} minutes, and governance.blast_radius is ${blast_radius} %`,
    untilMs: Math.min(...recent.map(({ atMs }) => atMs)) + limits.blastWindowMs,
  };
}
