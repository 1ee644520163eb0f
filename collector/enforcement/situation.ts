import type { Announcement } from '../../common/enforcement/announcement.ts';
import type { GovernanceLimit } from '../../common/enforcement/governance.ts';
import type { EnforcementPolicy } from '../../common/enforcement/policy.ts';
import type { WantedDigests } from '../../common/enforcement/wanted.ts';
import type { Order } from '../../common/order.ts';
import type { EarlierManifest, Settled } from './freeze.ts';
import type { GovernedNodeRow, OpenDrift, Replica, StandingMeasures, StoredOrder } from './ports.ts';

/** The manifest in force at the collector. */
export interface ManifestInForce {
  readonly commit: string;
  readonly policy: EnforcementPolicy;
  /** Of the containers that it wants. */
  readonly wanted: WantedDigests;
  /** When the collector adopted it, Unix milliseconds. */
  readonly adoptedAtMs: number;
  /** References of the images that it wants on a node. */
  readonly wantedImages?: (node: string) => readonly string[];
  /** What was in force before, newest first, as far as it is known. */
  readonly earlier?: readonly EarlierManifest[];
}

/** Since when the clock of a drift runs that goes on with the clock of one before it. */
export interface EarlierClock {
  /** By the node's clock, Unix milliseconds. */
  readonly sinceMs: number;
  /** Index of the entry that opened the drift with which it began. */
  readonly openedIndex: number;
}

/** All that orders for one node are decided by, at one moment. */
export interface Situation {
  readonly node: GovernedNodeRow;
  readonly manifest: Pick<ManifestInForce, 'commit' | 'policy' | 'wanted'>;
  /** That stand on the node. */
  readonly drifts: readonly OpenDrift[];
  /** Of the node: at least all that were issued within the last day and the cooldown, and since any of the drifts opened. */
  readonly orders: readonly StoredOrder[];
  /** Whether the manifest's commit is frozen. */
  readonly frozen: boolean;
  readonly silences: StandingMeasures['silences'];
  /** Whose signatures hold. */
  readonly announcements: readonly Announcement[];
  /** Ids of images that containers run, by container id; where announcements ask for them. */
  readonly imageIds: ReadonlyMap<string, string>;
  /** When the collector first saw each drift, by its own clock and by the index that opened it; now for those that are not there. */
  readonly seenMs: ReadonlyMap<number, number>;
  /** Clocks that drifts go on with, by their ids; without it each drift has its own. */
  readonly earlier?: ReadonlyMap<string, EarlierClock> | undefined;
  readonly settled: Settled;
  /** By container name, on all nodes, this one too; of containers that are to be replaced. */
  readonly replicas: ReadonlyMap<string, readonly Replica[]>;
  /** Unix milliseconds. */
  readonly nowMs: number;
}

/** Why a drift is not answered with an order now. In this order they are looked at. */
export type HoldCode =
  /** The node follows another commit than the collector. */
  | 'commit'
  /** The mode is audit. */
  | 'mode'
  /** The rule puts the drift on record and no more. */
  | 'alert_only'
  | 'silenced'
  /** An announced change. */
  | 'expected'
  | 'frozen'
  | 'settling'
  | 'grace'
  /** The container is just being started. */
  | 'starting'
  | 'window'
  /** What the node says of the container names none that could be ordered about. */
  | 'unnamed'
  /** An order is under way. */
  | 'pending'
  /** An order was executed, and has not shown its effect yet. */
  | 'verifying'
  /** A person has rejected an order for it. */
  | 'rejected'
  /** The last order came to nothing, and it is too early for the next one. */
  | 'retry'
  /** Enough orders came to nothing. */
  | 'exhausted'
  | GovernanceLimit
  | 'last_replica'
  /** The order for another drift of the container answers this one too. */
  | 'covered';

export interface Hold {
  readonly code: HoldCode;
  readonly reason: string;
  /** When it may be different, Unix milliseconds by the collector's clock; undefined when time alone changes nothing. */
  readonly untilMs?: number | undefined;
}

export interface HeldDrift extends Hold {
  readonly drift: OpenDrift;
}

/** An order that lacks nothing but its nonce. */
export type PlannedOrder = Omit<Order, 'nonce'>;

/** Every open drift is either answered by one of the orders or held. */
export interface Plan {
  readonly orders: readonly PlannedOrder[];
  readonly held: readonly HeldDrift[];
}
