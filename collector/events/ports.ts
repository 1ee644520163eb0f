import type { Caller } from '../auth/caller.ts';

/** An entry as the store has it. */
export interface StoredEvent {
  readonly index: number;
  readonly author: string;
  readonly seq: number;
  readonly kind: string;
  readonly at: Date;
  /** When its batch was received. */
  readonly received_at: Date | null;
  readonly entry_hash: Buffer;
  readonly leaf_hash: Buffer;
  /** Canonical bytes and signature; null once retention has dropped the body. */
  readonly bytes: Buffer | null;
  readonly signature: Buffer | null;
}

/** What is asked of the store: a stretch of the ledger, in order. */
export interface Stretch {
  /** The first index. */
  readonly from: number;
  /** The first index that does not belong to it; undefined for the end of the ledger. */
  readonly to: number | undefined;
  /** Entries of these kinds only; undefined for all. */
  readonly kinds: readonly string[] | undefined;
  /** Of these authors only; undefined for all. */
  readonly authors: readonly string[] | undefined;
}

/** The beginning of a stretch, or all of it. */
export interface StoredPage {
  readonly events: readonly StoredEvent[];
  /** Index that the next page begins with: everything before it was judged. */
  readonly next: number;
}

/**
 * What has been appended, as it is committed: whoever sees an entry sees all before it. Reads see every commit that was announced.
 * A page ends at `limits.eventPageEntries` or with the entry that fills `limits.eventPageBytes`.
 */
export interface EventStore {
  /** Entries in the ledger. */
  size(): Promise<number>;
  page(stretch: Stretch): Promise<StoredPage>;
  /** The nodes that orders are for, by the hash of the order. */
  nodesOfOrders(hashes: readonly string[]): Promise<ReadonlyMap<string, string>>;
}

/** Somebody who may follow events, as it was found when the stream began. */
export interface Admission {
  readonly caller: Caller;
  /** Whether that still holds: not after a token was revoked or replaced, or a user lost the permission. Asked every now and then. */
  stillAllowed(): Promise<boolean>;
}

/** How a stream came to its end: the other side left, it was too slow, it did not read at all, or an error code. */
export type Ending = 'left' | 'behind' | 'stalled' | (string & {});

export interface EventMetrics {
  opened(): void;
  closed(why: Ending): void;
  sent(events: number): void;
}
