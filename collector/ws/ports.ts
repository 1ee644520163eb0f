import type { KeyObject } from 'node:crypto';
import type { ChainHead, SignedEntry } from '../../common/entry.ts';
import type { SharedProofs } from '../../common/proof.ts';

/** Where an entry is in the ledger, by its number in the author chain. */
export interface Placed {
  readonly seq: number;
  readonly index: number;
}

/**
 * What a session needs of the ledger.
 *
 * Durability: what `append` resolved with is committed, and every later `checkpoint` covers it. Concurrency: all calls
 * may run at the same time. Retry: `append` may be repeated with the same bytes and answers the same places.
 */
export interface SessionLedger {
  /** Name of the log in its checkpoints. */
  readonly origin: string;
  /**
   * @param signedWith the key their signatures were checked with.
   * @throws AppError `ledger.sequence` for a gap, `ledger.equivocation` for other bytes under a taken number,
   *   `auth.revoked` when `signedWith` is not the author's key any more, and retryable ones (`state.busy`,
   *   `database.unreachable`) for "not now".
   */
  append(entries: readonly SignedEntry[], signedWith: KeyObject): Promise<readonly Placed[]>;
  authorHead(author: string): Promise<ChainHead>;
  checkpoint(): Promise<{ readonly size: number; readonly note: string }>;
  inclusion(indexes: readonly number[], size: number): Promise<SharedProofs>;
  consistency(oldSize: number, newSize: number): Promise<readonly Buffer[]>;
}

export interface NodeKey {
  readonly publicKey: KeyObject;
  readonly fingerprint: string;
  readonly revoked: boolean;
}

/** The keys nodes are enrolled with. Sees every enrolment and revocation that has been recorded. */
export interface NodeKeys {
  /** The node's current key, revoked or not; undefined for a node that was never enrolled. */
  key(node: string): Promise<NodeKey | undefined>;
}

/** Counters a metrics page is made of. Calls never throw. */
export interface SocketMetrics {
  opened(): void;
  closed(): void;
  /** By error code. */
  refused(code: string): void;
  acknowledged(entries: number): void;
}
