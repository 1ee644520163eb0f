import type { MeasureStatement } from '../../common/enforcement/measures.ts';
import type { SignedEntry } from '../../common/entry.ts';
import type { Order } from '../../common/order.ts';

/** A measure on its way to a node. */
export interface MeasureDispatch {
  readonly index: number;
  /** What a rejection is about; null for every other measure. */
  readonly order: Order | null;
  /** The entry at `index` where whoever sends it has it at hand; it is read from the ledger otherwise. */
  readonly leaf?: Pick<SignedEntry, 'bytes' | 'signature'> | undefined;
}

export interface MeasureRow extends Pick<MeasureDispatch, 'index' | 'order'> {
  readonly said: MeasureStatement;
}

export interface NodeMeasures {
  readonly rows: readonly MeasureRow[];
  /** False where there may be more than were read. */
  readonly areAll: boolean;
}

/** The same duties as those of `EnforcementStore`. */
export interface MeasureStore {
  /**
   * Oldest first: the last word on the commit that the node follows, other commits that are frozen, silences that are not over or have
   * been ended before, announced changes, and rejections of orders for drifts that stand there by that commit. Some may be over, or
   * concern others.
   */
  measuresFor(node: string, nowMs: number): Promise<NodeMeasures>;
  /** On record after this index, oldest first, at most `limits.maxMeasuresRead`. */
  measuresAfter(index: number): Promise<readonly MeasureRow[]>;
  /** Index of the last one on record; -1 while there is none. */
  lastMeasure(): Promise<number>;
}

/** The agents' sessions of this collector. All calls may be made again. */
export interface MeasureCarrier {
  /** Nodes with an open session here. */
  nodes(): readonly string[];
  /** Sends a measure with its proof; false when it has no open session here, or too many are waiting for it. */
  tell(node: string, dispatch: MeasureDispatch): boolean;
  /** Says that what concerns the node has been sent; behind all that was told before. False without an open session. */
  measured(node: string, all: boolean): boolean;
}
