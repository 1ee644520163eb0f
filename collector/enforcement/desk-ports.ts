import type { OrderWitnesses } from '../../common/enforcement/order-witnesses.ts';
import type { Approval, OrderAction } from '../../common/order.ts';
import type { CosignedCheckpoint, EndedDriftRow, EnforcementStore } from './ports.ts';
import type { HoldCode } from './situation.ts';

/** Which drifts that are over are asked for. */
export interface EndedSince {
  /** At or after this moment of the node's clock, Unix milliseconds. */
  readonly sinceMs: number;
  /** By an entry after this one. */
  readonly afterIndex: number;
  /** By an entry before this one; by any when it is left out. */
  readonly beforeIndex?: number;
}

/** What planning reads beside what operators do. The same duties as those of {@link EnforcementStore}. */
export interface PlanningStore extends EnforcementStore {
  /** Whether this commit was ever frozen, released since or not. */
  wasFrozen(commit: string): Promise<boolean>;
  /** Whether the last word on this alert is that it was raised. */
  alertStands(key: string): Promise<boolean>;
  /** Drifts of unauthorized containers that are over, those that ended last; bounded. */
  endedDrifts(node: string, ended: EndedSince): Promise<readonly EndedDriftRow[]>;
}

/** Checks who announced a change. Rejects when that cannot be said now; may be asked again. */
export type VerifyAnnouncement = (text: string, approval: Approval) => Promise<boolean>;

/** Those who have to have seen an order before it is sent. */
export interface OrderVouchers {
  /** The newest checkpoint that enough of these have cosigned; undefined while there is none. May be asked again. */
  newest(by: OrderWitnesses): Promise<CosignedCheckpoint | undefined>;
  /** Has witnesses asked, as soon as that may be, for a checkpoint over the first `size` entries. Does not wait. */
  hurry(size: number): void;
}

/** What enforcement counts. Calls never throw. */
export interface EnforcementMetrics {
  /** An order of a rule is on record, so many seconds after what led to it was looked at. */
  ordered(action: OrderAction, seconds: number): void;
  /** An order went out to its node, once more or for the first time. */
  sent(): void;
  frozen(): void;
  /** A look that failed, and is made again. */
  failed(): void;
  /** So many more, or fewer, drifts of nodes that are connected here are held for this reason. */
  held(code: HoldCode, change: number): void;
}
