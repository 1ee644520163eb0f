import type { DriftKind } from '../../common/drift-kind.ts';
import { limits } from '../../common/limits.ts';
import { type Order, type OrderOutcome, orderHash } from '../../common/order.ts';
import type { OrderEventRow, OrderStatus, StoredOrder } from '../enforcement/ports.ts';
import type { PlannedOrder } from '../enforcement/situation.ts';

interface Kept {
  readonly hash: string;
  readonly index: number;
  readonly order: Order;
  readonly issuedMs: number;
  readonly expiresMs: number;
  readonly events: OrderEventRow[];
}

/** Something that was said of an order. */
export type SaidOfOrder = Omit<OrderEventRow, 'node'> & { readonly author: string };

/**
 * Orders as they count for later ones: those that the rules would have given, and those that people really gave. What the
 * past's own rules ordered is not among them, since other rules stand in their place.
 */
export class OrderBook {
  readonly #byHash = new Map<string, Kept>();
  /** By node, oldest first. */
  readonly #byNode = new Map<string, Kept[]>();
  /** That nobody had answered when they were last looked at. */
  readonly #unanswered = new Set<Kept>();
  #simulated = 0;

  /** Takes up an order that a person gave, with what was said of it so far. */
  add(index: number, order: Order, events: readonly OrderEventRow[] = []): void {
    this.#keep(orderHash(order), index, { order, events: [...events] });
  }

  /** @param index that its entry would have had. @returns its hash. */
  issue(planned: PlannedOrder, index: number): string {
    // In the place of random bytes: no two orders are one, and the same history gives the same orders.
    const order = { ...planned, nonce: (this.#simulated++).toString(16).padStart(32, '0') };
    const hash = orderHash(order);
    this.#keep(hash, index, { order, events: [] });
    return hash;
  }

  /** @returns the node of the order, when it is one of these. */
  say({ author, ...event }: SaidOfOrder): string | undefined {
    const kept = this.#byHash.get(event.said.body.order);
    if (kept === undefined) return undefined;
    kept.events.push({ ...event, node: author });
    return kept.order.node;
  }

  /** The node has done it, and sees that it is so. */
  carriedOut(hash: string, index: number, atMs: number): void {
    for (const outcome of ['executed', 'verified'] as const) this.#result(hash, outcome, { index, atMs });
  }

  /**
   * A drift of this kind stands again: an order that was to end it has relapsed, if that is not long ago. Nodes say so by
   * themselves. A quarantine ends no drift.
   */
  cameBack(node: string, drift: { readonly kind: DriftKind; readonly container: string }, at: When): void {
    for (const { hash, order, events } of this.#byNode.get(node) ?? []) {
      if (order.drift?.kind !== drift.kind || order.container !== drift.container) continue;
      if (order.action === 'quarantine') continue;
      const last = events.at(-1);
      const isVerified = last?.said.kind === 'order.result' && last.said.body.outcome === 'verified';
      if (isVerified && at.atMs - last.atMs < limits.relapseWithinMs) this.#result(hash, 'relapsed', at);
    }
  }

  /** Of a node, those issued at or after `sinceMs`, as they stand at `nowMs`. */
  of(node: string, sinceMs: number, nowMs: number): readonly StoredOrder[] {
    this.#forget(node, nowMs);
    const its = this.#byNode.get(node) ?? [];
    return its.filter(({ issuedMs }) => issuedMs >= sinceMs).map((kept) => asStored(kept, nowMs));
  }

  /** On containers of this name, on any node, that nobody has answered. */
  requested(container: string, nowMs: number): readonly StoredOrder[] {
    const found: StoredOrder[] = [];
    for (const kept of this.#unanswered) {
      const stored = asStored(kept, nowMs);
      if (stored.status !== 'requested') this.#unanswered.delete(kept);
      else if (kept.order.container === container) found.push(stored);
    }
    return found;
  }

  #keep(hash: string, index: number, { order, events }: Pick<Kept, 'order' | 'events'>): void {
    const times = { issuedMs: Date.parse(order.issuedAt), expiresMs: Date.parse(order.expiresAt) };
    const kept = { hash, index, order, events, ...times };
    this.#byHash.set(hash, kept);
    this.#unanswered.add(kept);
    const its = this.#byNode.get(kept.order.node);
    if (its === undefined) this.#byNode.set(kept.order.node, [kept]);
    else its.push(kept);
  }

  #result(hash: string, outcome: OrderOutcome, { index, atMs }: When): void {
    const kept = this.#byHash.get(hash);
    const body = { order: hash, outcome, code: null, reason: 'simulated', evidence: null, containerId: null };
    kept?.events.push({ index, atMs, node: kept.order.node, said: { kind: 'order.result', body } });
  }

  /** What is in quarantine stays there until somebody releases it, however long that takes. */
  #forget(node: string, nowMs: number): void {
    const its = this.#byNode.get(node);
    const oldest = its?.[0];
    const longAgo = ({ issuedMs }: Kept) => issuedMs < nowMs - limits.ordersRememberedMs;
    if (its === undefined || oldest === undefined || !longAgo(oldest)) return;
    const left = its.filter((kept) => !longAgo(kept) || lasting.has(kept.order.action));
    if (left.length === its.length) return;
    const staying = new Set(left);
    for (const kept of its) if (!staying.has(kept)) this.#byHash.delete(kept.hash);
    this.#byNode.set(node, left);
  }
}

const lasting: ReadonlySet<Order['action']> = new Set<Order['action']>(['quarantine', 'release']);

interface When {
  readonly index: number;
  readonly atMs: number;
}

function asStored(kept: Kept, nowMs: number): StoredOrder {
  const { hash, index, order, events } = kept;
  return { hash, index, order, events, status: statusOf(kept, nowMs) };
}

/** As the stored orders are read: a result of the node outweighs a rejection that came too late for it. */
function statusOf({ order, events, expiresMs }: Kept, nowMs: number): OrderStatus {
  const told = events.findLast(({ node, said }) => said.kind === 'order.result' && node === order.node)?.said;
  if (told?.kind === 'order.result') return told.body.outcome;
  if (events.some(({ said }) => said.kind === 'order.rejected')) return 'rejected';
  return expiresMs <= nowMs ? 'expired' : 'requested';
}
