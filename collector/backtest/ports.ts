import type { Kind, Statement } from '../../common/kinds.ts';
import type { Manifest } from '../../common/manifest/manifest.ts';
import type { PlanningStore } from '../enforcement/desk-ports.ts';
import type { StoredOrder } from '../enforcement/ports.ts';
import type { FleetView } from '../fleet/view.ts';
import type { StoredBody } from '../ledger/replay.ts';

/** When the entries up to a size were received, by the collector's clock. */
export interface Receipt {
  readonly size: number;
  readonly receivedMs: number;
}

/** What somebody put on record, and when by his own clock in Unix milliseconds. */
export interface PastStatement {
  readonly index: number;
  readonly author: string;
  readonly atMs: number;
  readonly said: Statement;
}

/** Reads of one state of the database, in which no body is erased meanwhile. */
export interface BacktestView {
  readonly fleet: FleetView;
  /** Entries of these kinds with indexes from `from` up to but not including `to`, in order. */
  entries(from: number, to: number, kinds: readonly Kind[]): Promise<readonly StoredBody[]>;
  /** Every batch that holds one of these entries, in order. */
  receipts(from: number, to: number): Promise<readonly Receipt[]>;
  /** How many of these entries have no body. */
  bodiless(from: number, to: number): Promise<number>;
  /** Among the first `size` entries: silences and their ends, announced changes, and what each node has adopted last. In order. */
  measuresBefore(size: number): Promise<readonly PastStatement[]>;
  /** Orders of a node issued at or after `sinceMs`, with all that was said of them until now, oldest first. */
  ordersOf(node: string, sinceMs: number, nowMs: number): Promise<readonly StoredOrder[]>;
  readonly endedDrifts: PlanningStore['endedDrifts'];
}

/** The manifest of a commit that was in force once; undefined when it is not at hand, or has become unreadable. */
export type ManifestAt = (commit: string) => Promise<Manifest | undefined>;
