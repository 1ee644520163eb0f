import type { SignedEntry } from '../../common/entry.ts';
import { limits } from '../../common/limits.ts';
import type { Approval, Order } from '../../common/order.ts';
import { countedApprovals } from './counted-approvals.ts';
import type { EnforcementMetrics, OrderVouchers } from './desk-ports.ts';
import { readOvertakings, type SincePorts } from './overtaken.ts';
import type { EnforcementStore, OrderCarrier, OrderDispatch, StoredOrder } from './ports.ts';
import type { ManifestInForce } from './situation.ts';

export interface DispatcherOptions extends SincePorts {
  readonly store: SincePorts['store'] & Pick<EnforcementStore, 'dispatchable' | 'measures'>;
  readonly carrier: OrderCarrier;
  readonly metrics: Pick<EnforcementMetrics, 'sent'>;
  /** In force at this moment. */
  readonly manifest: () => ManifestInForce | undefined;
  /** Without them, an order that has to be witnessed is never sent. */
  readonly vouchers?: OrderVouchers | undefined;
}

/** An order that has just been put on record. */
export interface FreshOrder extends Pick<SignedEntry, 'bytes' | 'signature'> {
  readonly hash: string;
  readonly index: number;
  readonly order: Order;
}

/** Gives orders that are on record to their nodes. */
export interface Dispatcher {
  /** Sends an order at once if it waits for nobody, neither for approvals nor for witnesses. */
  fresh(order: FreshOrder, nowMs: number): void;
  /** Sends these nodes what waits for them, and again what they have not answered for a while. */
  waiting(nodes: readonly string[], manifest: ManifestInForce, nowMs: number): Promise<void>;
  /** Nodes with an order that waits for witnesses; look again once these have said something. */
  readonly unwitnessed: readonly string[];
  /** A node has a new session, or none: what was sent before may not have come. */
  forget(node: string): void;
}

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { store, carrier, metrics, vouchers } = options;
  const unwitnessed = new Set<string>();
  /** When each order was last sent, by node and hash; Unix milliseconds. */
  const sent = new Map<string, Map<string, number>>();

  function send(node: string, dispatch: OrderDispatch, nowMs: number): void {
    const its = sent.get(node) ?? new Map<string, number>();
    if (nowMs - (its.get(dispatch.hash) ?? Number.NEGATIVE_INFINITY) < limits.orderResendMs) return;
    if (!carrier.send(node, dispatch)) return;
    for (const [hash, atMs] of its) if (nowMs - atMs >= limits.orderResendMs) its.delete(hash);
    sent.set(node, its.set(dispatch.hash, nowMs));
    metrics.sent();
  }

  /** It is found again among what waits, once witnesses have seen the entry at `index`. */
  function awaitWitnesses(node: string, index: number): void {
    unwitnessed.add(node);
    vouchers?.hurry(index + 1);
  }

  return {
    get unwitnessed() {
      return [...unwitnessed];
    },
    fresh: ({ hash, index, order, bytes, signature }, nowMs) => {
      if (order.approvals > 0) return;
      if (options.manifest()?.policy.witnesses !== undefined) awaitWitnesses(order.node, index);
      else send(order.node, { hash, index, approvals: [], leaf: { bytes, signature } }, nowMs);
    },
    waiting: async (nodes, { commit, policy: { witnesses } }, nowMs) => {
      if (nodes.length === 0) return;
      // Before anything is read: an order that comes meanwhile puts its node back.
      for (const node of nodes) unwitnessed.delete(node);
      const [stored, measures] = await Promise.all([store.dispatchable(nodes, nowMs), store.measures(nowMs)]);
      const asked = witnesses !== undefined && stored.length > 0;
      const witnessed = asked ? await vouchers?.newest(witnesses) : undefined;
      const overtakings = await readOvertakings(options, stored, measures, nowMs);
      for (const one of stored) {
        const { order, hash, index } = one;
        // Nothing stands behind a rule of another commit any more.
        if (order.origin === 'rule' && order.commit !== commit) continue;
        if ((overtakings.get(hash)?.length ?? 0) > 0) continue;
        if (asked && index >= (witnessed?.size ?? 0)) awaitWitnesses(order.node, index);
        else send(order.node, { hash, index, approvals: approvalsOf(one), ...(witnessed && { witnessed }) }, nowMs);
      }
    },
    forget: (node) => {
      sent.delete(node);
      unwitnessed.delete(node);
    },
  };
}

/** Those that count; the node checks them by itself. */
function approvalsOf(stored: StoredOrder): readonly Approval[] {
  const counted = countedApprovals(stored).map(({ approver, signature }) => ({ approver, signature }));
  return counted.slice(0, limits.maxApprovals);
}
