import type { KeyObject } from 'node:crypto';
import type { ChainHead, SignedEntry } from '../../common/entry.ts';
import type { SharedProofs } from '../../common/proof.ts';

/** Where an entry is in the ledger, by its number in the author chain. */
export interface Placed {
  readonly seq: number;
  readonly index: number;
}

/** An entry as it is in the ledger. */
export interface PlacedLeaf extends Pick<SignedEntry, 'bytes' | 'signature'> {
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
  /** The entry with that number, for whoever needs it proved; undefined when there is none or its body is not kept any more. */
  entryOf(author: string, seq: number): Promise<PlacedLeaf | undefined>;
  /** The entry at this index; undefined when there is none or its body is not kept any more. */
  leafAt(index: number): Promise<PlacedLeaf | undefined>;
  /** @param enough size that will do, of entries that were appended here; the latest there is without it. */
  checkpoint(enough?: number): Promise<{ readonly size: number; readonly note: string }>;
  inclusion(indexes: readonly number[], size: number): Promise<SharedProofs>;
  consistency(oldSize: number, newSize: number): Promise<readonly Buffer[]>;
  /**
   * Measures the ledger by a checkpoint that somebody holds.
   * @throws AppError `auth.signature` or `ledger.proof` when it is not one of this ledger's, `ledger.tampered` when it is and
   *   the ledger does not contain its tree.
   */
  confront(note: string): Promise<void>;
}

/** A checkpoint that all witnesses are asked to cosign. */
export interface RoundCheckpoint {
  readonly size: number;
  /** The whole note, signed by the log, and its text, which is what is cosigned. */
  readonly note: string;
  readonly text: string;
}

/** An agent's answer to an offer, not yet verified. */
export interface Vote {
  readonly node: string;
  /** The key the session was proved with. */
  readonly publicKey: KeyObject;
  readonly checkpoint: RoundCheckpoint;
  /** `timestamped_signature` of C2SP tlog-cosignature, 72 bytes. */
  readonly cosignature: Buffer;
}

/** What an agent says it was shown, not yet believed. */
export interface ForkReport {
  readonly node: string;
  readonly held: string;
  readonly offered: string;
  readonly reason: string;
}

/**
 * What sessions need of the rounds in which checkpoints are cosigned. All calls may run at the same time; nothing is asked
 * again when a call fails, since the next round asks anew.
 */
export interface Witnessing {
  /** Pending, for a bounded time, while a round settles on its checkpoint; acks wait for it. Never rejects. */
  readonly forming: Promise<void> | undefined;
  /** An agent had been told of a larger tree already and could not be asked. */
  missed(): void;
  /** @throws AppError `auth.signature` for what is not this node's cosignature of that checkpoint. */
  cosigned(vote: Vote): Promise<void>;
  /** Looks into it; whatever comes out is logged and counted. */
  forked(report: ForkReport): Promise<void>;
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
  /** @param version of the agent */
  opened(version: string): void;
  closed(version: string): void;
  /** By error code. */
  refused(code: string): void;
  /** A batch of so many entries, so long after its frame was read. */
  acknowledged(entries: number, seconds: number): void;
}
