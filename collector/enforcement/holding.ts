import { windowHolding } from '../../common/enforcement/permission.ts';
import { approvalsOf } from './approvals.ts';
import { countedApprovals } from './counted-approvals.ts';
import type { ManifestInForce } from './operator.ts';
import type { Overtaking } from './overtaken.ts';
import type { GovernedNodeRow, StoredOrder } from './ports.ts';

/** Why an order is not carried out, as far as it is known here. */
export interface Hold {
  readonly code: 'approvals' | 'commit' | 'mode' | 'manual' | 'node' | 'window' | 'unwitnessed' | Overtaking['code'];
  readonly reason: string;
}

export interface HoldFacts {
  readonly manifest: ManifestInForce | undefined;
  readonly nodes: readonly GovernedNodeRow[];
  /** What the order was overtaken by. */
  readonly overtakings: readonly Overtaking[];
  /** How much of the ledger enough of the witnesses have seen, as far as is known; undefined where nobody is asked. */
  readonly witnessedSize: number | undefined;
  readonly nowMs: number;
}

/**
 * All that stands in the way of an order at this moment; nothing for one of which something has become. The node judges by itself,
 * and may know of more: limits of governance, another container under the name, or a drift that is gone.
 */
export function heldUpBy(stored: StoredOrder, facts: HoldFacts): readonly Hold[] {
  if (stored.status !== 'requested' || stored.order.origin === 'local') return [];
  return [
    ...missingApprovals(stored, facts),
    ...manifestHolds(stored, facts),
    ...nodeHolds(stored, facts),
    ...missingWitnesses(stored, facts),
    ...(stored.order.origin === 'rule' ? ruleHolds(stored, facts) : []),
  ];
}

function missingApprovals(stored: StoredOrder, { manifest }: HoldFacts): Hold[] {
  const [counted, needed] = [countedApprovals(stored).length, approvalsOf(stored, manifest)];
  return counted >= needed ? [] : [{ code: 'approvals', reason: `approved by ${counted} of ${needed} who have to` }];
}

function manifestHolds({ order }: StoredOrder, { manifest }: HoldFacts): Hold[] {
  if (manifest === undefined) return [{ code: 'commit', reason: 'no manifest is in force here' }];
  const { commit, policy } = manifest;
  if (commit !== order.commit) {
    const reason = `it was decided by ${short(order.commit)}, and ${short(commit)} is in force: no node obeys it any more`;
    return [{ code: 'commit', reason }];
  }
  if (policy.mode === 'audit') return [{ code: 'mode', reason: 'config.enforcement_mode is audit' }];
  if (order.origin === 'operator' && !policy.manualOrders) {
    return [{ code: 'manual', reason: 'config.allow_manual_overrides is not set' }];
  }
  return [];
}

function nodeHolds({ order }: StoredOrder, { nodes }: HoldFacts): Hold[] {
  const node = nodes.find((known) => known.node === order.node);
  if (node === undefined) return [{ code: 'node', reason: `the key of ${order.node} is not in force` }];
  if (node.adopted === null || node.adopted.commit === order.commit) return [];
  return [{ code: 'node', reason: `${order.node} has adopted ${short(node.adopted.commit)}` }];
}

function missingWitnesses({ index }: StoredOrder, { witnessedSize }: HoldFacts): Hold[] {
  if (witnessedSize === undefined || index < witnessedSize) return [];
  const reason = `witnesses have seen ${witnessedSize} entries of the ledger, and the order is entry ${index}`;
  return [{ code: 'unwitnessed', reason }];
}

function ruleHolds({ order }: StoredOrder, { manifest, overtakings, nowMs }: HoldFacts): readonly Hold[] {
  const window = manifest === undefined ? undefined : windowHolding(order, manifest.policy, nowMs);
  if (window === undefined) return overtakings;
  return [...overtakings, { code: 'window', reason: `the maintenance window "${window}" is open` }];
}

function short(commit: string): string {
  return commit.slice(0, 12);
}
