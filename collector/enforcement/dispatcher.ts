import type { SignedEntry } from '../../common/entry.ts';
import { limits } from '../../common/limits.ts';
import type { Approval, Order } from '../../common/order.ts';
import { countedApprovals } from './counted-approvals.ts';
import type { EnforcementMetrics } from './desk-ports.ts';
import type { EnforcementStore, OrderCarrier, OrderDispatch, StoredOrder } from './ports.ts';
import type { ManifestInForce } from './situation.ts';

export interface DispatcherOptions {
  readonly store: Pick<EnforcementStore, 'dispatchable' | 'measures'>;
  readonly carrier: OrderCarrier;
  readonly metrics: Pick<EnforcementMetrics, 'sent'>;
}

/** An order that has just been put on record. */
export interface FreshOrder extends Pick<SignedEntry, 'bytes' | 'signature'> {
  readonly hash: string;
  readonly index: number;
  readonly order: Order;
}

/** Gives orders that are on record to their nodes. */
export interface Dispatcher {
  /** Sends an order at once if it waits for nobody's approval. */
  fresh(order: FreshOrder, nowMs: number): void;
  /** Sends these nodes what waits for them, and again what they have not answered for a while. */
  waiting(nodes: readonly string[], manifest: ManifestInForce, nowMs: number): Promise<void>;
  /** A node has a new session, or none: what was sent before may not have come. */
  forget(node: string): void;
}

export function createDispatcher({ store, carrier, metrics }: DispatcherOptions): Dispatcher {
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

  return {
    fresh: ({ hash, index, order, bytes, signature }, nowMs) => {
      if (order.approvals === 0) send(order.node, { hash, index, approvals: [], leaf: { bytes, signature } }, nowMs);
    },
    waiting: async (nodes, { commit }, nowMs) => {
      if (nodes.length === 0) return;
      const [stored, { frozen }] = await Promise.all([store.dispatchable(nodes, nowMs), store.measures(nowMs)]);
      const isFrozen = frozen.some(({ body }) => body.commit === commit);
      for (const one of stored) {
        const { order, hash, index } = one;
        // Nothing stands behind a rule of another commit any more, nor behind one that is suspected.
        if (order.origin === 'rule' && (order.commit !== commit || isFrozen)) continue;
        send(order.node, { hash, index, approvals: approvalsOf(one) }, nowMs);
      }
    },
    forget: (node) => {
      sent.delete(node);
    },
  };
}

/** Those that count; the node checks them by itself. */
function approvalsOf(stored: StoredOrder): readonly Approval[] {
  const counted = countedApprovals(stored).map(({ approver, signature }) => ({ approver, signature }));
  return counted.slice(0, limits.maxApprovals);
}
