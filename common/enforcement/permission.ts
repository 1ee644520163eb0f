import { onlyMountedFiles } from '../config-drift.ts';
import type { Drift } from '../drift.ts';
import { clip } from '../fields.ts';
import { limits } from '../limits.ts';
import { windowAt } from '../manifest/windows.ts';
import { driftDigest, type Order } from '../order.ts';
import { type GovernanceLimit, limitedBy, type PastOrder } from './governance.ts';
import { approvalsNeeded, type EnforcementPolicy } from './policy.ts';
import { type WantedDigests, wantedOf } from './wanted.ts';

/** Why an order is not obeyed. */
export type RefusalCode =
  | 'misdirected'
  | 'repeated'
  | 'expired'
  | 'untrusted'
  | 'commit'
  | 'unwitnessed'
  | 'mode'
  | 'rule'
  | 'manual'
  | 'approvals'
  | 'window'
  | 'grace'
  | 'gone'
  | 'busy'
  | GovernanceLimit;

export interface Refusal {
  readonly code: RefusalCode;
  readonly reason: string;
}

/** A drift that stands. */
export interface StandingDrift {
  readonly drift: Drift;
  /** Since when, Unix milliseconds by the node's clock. */
  readonly sinceMs: number;
}

/** What a node knows at the moment at which it is to act. */
export interface Circumstances {
  readonly node: string;
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** False while the ledger stands contradicted. */
  readonly trusted: boolean;
  /** The manifest that the node itself has verified. */
  readonly adopted: { readonly commit: string; readonly policy: EnforcementPolicy } | undefined;
  /** By id, as of this moment: what the order is about has just been looked at. */
  readonly drifts: ReadonlyMap<string, StandingDrift>;
  /** The container with the order's id; for an order that names none, or restores one that is gone, the one under its name. */
  readonly target: { readonly id: string; readonly name: string } | undefined;
  readonly containers: number;
  /** Orders that were begun here. */
  readonly past: readonly PastOrder[];
  /** Of what the manifest in force wants. */
  readonly wanted: WantedDigests;
  /** Names of approvers whose signatures of this order hold, each by a key of its own. */
  readonly approvers: readonly string[];
  /**
   * Witnesses of the manifest, by their keys, whose cosignatures hold of a checkpoint that the order is in; null for what the node has
   * decided by itself, which nobody can have kept from others.
   */
  readonly witnessedBy: readonly string[] | null;
}

/**
 * Why a node does not obey an order that is in the ledger; undefined when it does. That it is in the ledger, and has not been
 * begun before, is for the caller to know. Pure: no collector, and nobody who owns one, can get around what is said here, since
 * all that counts is the node's own.
 */
export function refusalOf(order: Order, at: Circumstances): Refusal | undefined {
  return (
    misdirected(order, at) ??
    expired(order, at) ??
    untrusted(at) ??
    commitRefusal(order, at) ??
    unwitnessed(at) ??
    notPermitted(order, at) ??
    madeOtherwise(order, at) ??
    tooEarly(order, at) ??
    untrue(order, at) ??
    held(order, at)
  );
}

/**
 * Why an order that was begun is not taken up again after the program had ended; undefined when it is. Its approvals and limits were
 * judged when it was begun; what may have changed since is the time, the manifest, and what runs.
 */
export function resumptionRefusal(order: Order, at: Circumstances): Refusal | undefined {
  if (order.origin !== 'local') {
    return expired(order, at) ?? untrusted(at) ?? commitRefusal(order, at) ?? untrue(order, at);
  }
  return expired(order, at) ?? commitRefusal(order, at) ?? untrue(order, at);
}

function refusal(code: RefusalCode, reason: string): Refusal {
  return { code, reason };
}

function misdirected({ node, origin }: Order, at: Circumstances): Refusal | undefined {
  if (node !== at.node) return refusal('misdirected', `the order is for ${node}`);
  // What a node decides by itself never comes from elsewhere; whoever acts on it has made it and does not ask here.
  return origin === 'local' ? refusal('misdirected', 'nobody but the node itself decides for it') : undefined;
}

/** Both ends count: one that is valid for years would be a key that is kept in a drawer. */
function expired({ issuedAt, expiresAt }: Order, { nowMs }: Circumstances): Refusal | undefined {
  const [issuedMs, expiresMs] = [Date.parse(issuedAt), Date.parse(expiresAt)];
  if (nowMs >= expiresMs) return refusal('expired', `expired at ${expiresAt}`);
  if (expiresMs - issuedMs > limits.maxOrderLifetimeMs)
    return refusal('expired', 'valid for longer than an order may be');
  if (issuedMs > nowMs + limits.maxOrderAheadMs) return refusal('expired', `issued in the future, at ${issuedAt}`);
  return undefined;
}

function untrusted({ trusted, adopted }: Circumstances): Refusal | undefined {
  if (!trusted) return refusal('untrusted', 'the ledger has contradicted itself, and nobody has released this node');
  return adopted === undefined ? refusal('commit', 'there is no manifest that could permit it') : undefined;
}

function commitRefusal({ commit }: Order, { adopted }: Circumstances): Refusal | undefined {
  if (adopted?.commit === commit) return undefined;
  return refusal(
    'commit',
    `decided by the manifest of ${short(commit)}, and ${short(adopted?.commit ?? 'none')} is in force`,
  );
}

/** What is in the tree that this node is shown may be in no other one: that it is in theirs is for others to say, each once. */
function unwitnessed({ adopted, witnessedBy }: Circumstances): Refusal | undefined {
  const wanted = adopted?.policy.witnesses;
  if (wanted === undefined || witnessedBy === null) return undefined;
  const counted = wanted.keys.filter((key) => witnessedBy.includes(key)).length;
  if (counted >= wanted.required) return undefined;
  const who = `${wanted.required} of the ${wanted.keys.length} witnesses that the manifest pins`;
  return refusal('unwitnessed', `${who} have to have seen it in the ledger, and ${counted} say so`);
}

/** Mode, rule and approvals of the manifest. */
function notPermitted(order: Order, { adopted, approvers }: Circumstances): Refusal | undefined {
  if (adopted === undefined) return undefined;
  const { policy } = adopted;
  if (policy.mode === 'audit') return refusal('mode', 'config.enforcement_mode is audit: nothing is done about drift');
  const unruled = order.origin === 'operator' ? manualRefusal(policy) : ruleRefusal(order, policy);
  if (unruled !== undefined) return unruled;
  const { approvers: named } = policy.governance;
  const counted = new Set(approvers.filter((name) => named.length === 0 || named.includes(name)));
  const needed = Math.max(order.approvals, approvalsNeeded(policy, order));
  if (counted.size >= needed) return undefined;
  return refusal('approvals', `approved by ${counted.size} of ${needed} who have to`);
}

/** Orders of before commit to nothing, and make what the manifest in force wants; through an executor, nothing. */
function madeOtherwise(order: Order, { wanted, node }: Circumstances): Refusal | undefined {
  if (order.wanted === undefined) return undefined;
  if (wantedOf({ ...order, node }, wanted).wanted === order.wanted) return undefined;
  return refusal('rule', `the manifest wants another ${clip(order.container)} than the order commits to`);
}

function manualRefusal({ manualOrders }: EnforcementPolicy): Refusal | undefined {
  return manualOrders
    ? undefined
    : refusal('manual', 'config.allow_manual_overrides is not set: only rules give orders');
}

function ruleRefusal({ action, drift }: Order, { answers }: EnforcementPolicy): Refusal | undefined {
  if (drift === null) return refusal('rule', 'it answers no drift, and no operator stands for it');
  const answer = answers[drift.kind];
  if (answer.action === action) return undefined;
  return refusal('rule', `${answer.rule} does not answer ${drift.kind} with ${action}`);
}

/** Maintenance windows and grace periods hold up rules, not operators. */
function tooEarly(order: Order, { adopted, drifts, nowMs }: Circumstances): Refusal | undefined {
  if (adopted === undefined || order.origin === 'operator' || order.drift === null) return undefined;
  const open = windowHolding(order, adopted.policy, nowMs);
  if (open !== undefined) return refusal('window', `the maintenance window "${clip(open)}" is open`);
  const standing = drifts.get(order.drift.id);
  const { graceMs } = adopted.policy.answers[order.drift.kind];
  if (standing === undefined || nowMs - standing.sinceMs >= graceMs) return undefined;
  return refusal('grace', `the drift has stood for ${nowMs - standing.sinceMs} ms of a grace period of ${graceMs} ms`);
}

/** The maintenance window, by its name, that holds up an order of a rule at this moment; undefined when none does. */
export function windowHolding(
  { action }: Pick<Order, 'action'>,
  { windows }: EnforcementPolicy,
  nowMs: number,
): string | undefined {
  const open = windowAt(windows, nowMs);
  if (open === undefined) return undefined;
  return open.allow_drift || (open.disable_auto_rollback && action === 'rollback') ? open.name : undefined;
}

/** Whether it is still so: the drift, and the container that was meant. */
function untrue(
  { drift, container, containerId, action, origin }: Order,
  { drifts, target }: Circumstances,
): Refusal | undefined {
  if (drift !== null) {
    const standing = drifts.get(drift.id);
    if (standing === undefined) return refusal('gone', 'the drift does not stand any more');
    // The rule and its grace period were looked up by the kind that the order names.
    if (standing.drift.kind !== drift.kind || driftDigest(standing.drift) !== drift.digest)
      return refusal('gone', 'the drift is not the one that was decided on');
    // Which names differ only in what was cut off is not known.
    if (standing.drift.container !== clip(container)) return refusal('gone', 'the drift is that of another container');
    if (origin !== 'operator' && onlyMountedFiles(standing.drift.differences))
      return refusal('rule', 'a container that is made anew has the same files mounted');
  }
  if (containerId === null) {
    if (action !== 'restore') return refusal('gone', 'it names no container');
    return target === undefined ? undefined : refusal('gone', `there is a container called ${clip(container)} now`);
  }
  // What was to be replaced is gone altogether by now: then it is missing all the more.
  if (action === 'restore' && origin !== 'operator' && target === undefined) return undefined;
  if (target?.id === containerId && target.name === container) return undefined;
  return refusal('gone', 'the container that was meant is not there, or has another name');
}

function held(order: Order, { adopted, past, containers, nowMs }: Circumstances): Refusal | undefined {
  if (adopted === undefined) return undefined;
  const limited = limitedBy(order, adopted.policy.governance, { past, containers, nowMs });
  return limited === undefined ? undefined : refusal(limited.limit, limited.reason);
}

function short(commit: string): string {
  return clip(commit).slice(0, 12);
}
