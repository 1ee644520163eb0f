import type { Drift } from '../../common/drift.ts';
import type { DriftKind } from '../../common/drift-kind.ts';
import type { SignedEntry } from '../../common/entry.ts';
import type { Body, Statement } from '../../common/kinds.ts';
import type { Approval, Order, OrderOutcome } from '../../common/order.ts';
import type { SuspectDrift } from './freeze.ts';

/** A drift that stands, as the ledger has it. */
export interface OpenDrift {
  readonly node: string;
  readonly drift: Drift;
  /** Index of the entry that opened it, and when, by the node's clock in Unix milliseconds. */
  readonly openedIndex: number;
  readonly openedAtMs: number;
  /** Of the manifest it was judged by. */
  readonly commit: string | null;
}

/** A drift of an unauthorized container that is over. */
export interface EndedDriftRow extends OpenDrift {
  /** By the node's clock, Unix milliseconds. */
  readonly endedMs: number;
  /** Index of the entry that ended it. */
  readonly endedIndex: number;
}

/**
 * Where an order stands: `requested` until its node has said what became of it, or a person has `rejected` it; `expired` also
 * when nobody has said anything and its time is over.
 */
export type OrderStatus = 'requested' | 'rejected' | OrderOutcome;

/** Something that was said of an order by somebody who may: the collector, or the order's own node. */
export interface OrderEventRow {
  readonly index: number;
  readonly node: string;
  readonly atMs: number;
  readonly said:
    | { readonly kind: 'order.approved'; readonly body: Body<'order.approved'> }
    | { readonly kind: 'order.rejected'; readonly body: Body<'order.rejected'> }
    | { readonly kind: 'order.result'; readonly body: Body<'order.result'> };
}

/** An order with its whole story, oldest event first. */
export interface StoredOrder {
  readonly hash: string;
  /** Index of the `order.issued` (or `order.local`) entry. */
  readonly index: number;
  readonly order: Order;
  readonly status: OrderStatus;
  readonly events: readonly OrderEventRow[];
}

/** A node as enforcement sees it. */
export interface GovernedNodeRow {
  readonly node: string;
  /** The commit it said last that it has adopted, and when, Unix milliseconds; null while it never has. */
  readonly adopted: { readonly commit: string; readonly atMs: number } | null;
  /** Containers that run there, as governance counts them. */
  readonly containers: number;
}

/** Another container of the same name, on whatever node. */
export interface Replica {
  readonly node: string;
  readonly state: string;
  readonly health: string;
}

/** What holds enforcement up at a moment, from the entries. */
export interface StandingMeasures {
  /** Commits by which nothing is ordered. */
  readonly frozen: readonly { readonly index: number; readonly body: Body<'enforcement.frozen'> }[];
  /** Those that are not over at `nowMs`. */
  readonly silences: readonly { readonly index: number; readonly body: Body<'drift.silenced'> }[];
  readonly announcements: readonly { readonly index: number; readonly body: Body<'change.announced'> }[];
}

export interface OrderFilter {
  readonly node?: string | undefined;
  readonly container?: string | undefined;
  readonly action?: string | undefined;
  readonly status?: OrderStatus | undefined;
}

/**
 * What enforcement reads: projections of the ledger only, so that a second collector, or a rebuilt database, decides the same.
 * Reads see at least every entry whose append has resolved. All calls may run at the same time, and be made again.
 */
export interface EnforcementStore {
  openDrifts(node: string): Promise<readonly OpenDrift[]>;
  /**
   * Drifts that any node judged by this manifest last, standing or not; and of `kinds` those, too, that stand and were judged by
   * another one.
   */
  driftsOfCommit(commit: string, kinds: readonly DriftKind[]): Promise<readonly SuspectDrift[]>;
  /** Active nodes. */
  nodes(): Promise<readonly GovernedNodeRow[]>;
  replicas(container: string): Promise<readonly Replica[]>;
  /** `sha256:<64 hex>`: the image that a container on a node was last seen to run; undefined for one that is not there. */
  imageId(node: string, containerId: string): Promise<string | undefined>;
  /** Orders of a node issued at or after `sinceMs`, oldest first. */
  ordersOf(node: string, sinceMs: number, nowMs: number): Promise<readonly StoredOrder[]>;
  /** Orders for these nodes that are `requested` and have as many approvals as they ask for, oldest first, bounded. */
  dispatchable(nodes: readonly string[], nowMs: number): Promise<readonly StoredOrder[]>;
  /** Orders on containers of this name that are `requested`, whatever nodes they are for, oldest first, bounded. */
  requestedOn(container: string, nowMs: number): Promise<readonly StoredOrder[]>;
  order(hash: string, nowMs: number): Promise<StoredOrder | undefined>;
  /** Orders whose hash begins so; at most two, which is enough to say that it is not one. */
  ordersNamed(prefix: string, nowMs: number): Promise<readonly StoredOrder[]>;
  /** Newest first, those issued before index `before`. */
  listOrders(
    filter: OrderFilter,
    page: { readonly before: number | undefined; readonly limit: number },
    nowMs: number,
  ): Promise<readonly StoredOrder[]>;
  measures(nowMs: number): Promise<StandingMeasures>;
}

/** Puts a statement of the collector on record. Resolved means committed. */
export interface Recorder {
  record(statement: Statement): Promise<SignedEntry & { readonly index: number }>;
}

/** A checkpoint of the log with the cosignatures of enough witnesses. */
export interface CosignedCheckpoint {
  readonly size: number;
  /** Signed note. */
  readonly note: string;
}

/** An order on its way: what an agent needs to check it. */
export interface OrderDispatch {
  readonly hash: string;
  readonly index: number;
  readonly approvals: readonly Approval[];
  /** A checkpoint over it that witnesses have cosigned, where the manifest asks for one. */
  readonly witnessed?: CosignedCheckpoint | undefined;
  /** The entry at `index` where whoever sends it has it at hand; it is read from the ledger otherwise. */
  readonly leaf?: Pick<SignedEntry, 'bytes' | 'signature'> | undefined;
}

/** The agents' sessions of this collector. */
export interface OrderCarrier {
  /** Nodes with an open session here. */
  nodes(): readonly string[];
  /** Sends an order to its node; false when it has no open session here. May be called again for the same order. */
  send(node: string, dispatch: OrderDispatch): boolean;
}
