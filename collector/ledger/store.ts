import type { Batch } from '../../common/batch.ts';
import type { ChainHead, LoggedEntry } from '../../common/entry.ts';
import type { CompactRange } from '../../common/merkle.ts';
import type { TileId } from '../../common/tiles.ts';
import type { StoredStatement } from './erasure/record.ts';
import type { ProjectionChanges } from './projections.ts';

/** The one row that says how far the log has come. */
export interface TreeHead {
  readonly origin: string;
  readonly range: CompactRange;
}

/** A tile of 256 hashes that will never change again. */
export interface FullTile extends TileId {
  readonly hashes: Buffer;
}

/** An entry ready to be stored: everything derived from its bytes has been derived. */
export interface StorableEntry extends LoggedEntry {
  readonly leafHash: Buffer;
  /** Hex SHA-256 of the canonical bytes. */
  readonly hash: string;
}

/** One that comes to stand behind all others. */
export interface StagedEntry extends StorableEntry {
  /** What `leafHash` is the SHA-256 of: a zero byte, canonical bytes, signature (RFC 6962). */
  readonly leaf: Buffer;
}

/** A batch with the collector's signature. */
export interface SignedBatch {
  readonly batch: Batch;
  /** 64 bytes. */
  readonly signature: Buffer;
}

/** All that one group commit writes. */
export interface Commit {
  readonly from: TreeHead;
  readonly to: TreeHead;
  /** Contiguous: the first has index `from.range.size`, the last `to.range.size - 1`. */
  readonly entries: readonly StagedEntry[];
  readonly tiles: readonly FullTile[];
  readonly projections: ProjectionChanges;
  /** When it was received; of the tree `to`. */
  readonly received: SignedBatch;
}

/** What an author's number stands for in the ledger. */
export interface StoredEntryRef {
  readonly author: string;
  readonly seq: number;
  readonly index: number;
  readonly hash: string;
}

export interface StoredAuthor {
  readonly head: ChainHead;
  readonly key: Buffer | undefined;
}

/**
 * The ledger's durable side, declared by the ledger.
 *
 * `commit` is one transaction, durable when it resolves: tree head (compare-and-swap from `from.size`), entries, tiles,
 * batch and projections, or nothing at all. It resolves to false, having written nothing, when the tree head has moved: some
 * other collector appended. It may reject although the transaction was committed (the reply was lost), so the ledger
 * reads everything anew after any rejection; unless it is certain that nothing was written the error is retryable, and then
 * nothing of the commit is laid out a second time. Reads see at least every commit that has resolved.
 */
export interface LedgerStore {
  head(): Promise<TreeHead | undefined>;
  /** Writes the first tree head, of size 0; no effect when one exists. */
  create(head: TreeHead): Promise<void>;
  commit(commit: Commit): Promise<boolean>;
  /**
   * Runs `work` while nobody else's commit goes through, on a view of the store whose commits are durable when this
   * resolves, and undone when `work` rejects. Waits its turn, so that who lost a swap does not lose the next one too.
   */
  exclusively<T>(work: (store: LedgerStore) => Promise<T>): Promise<T>;
  /**
   * Resolves once all that could be read before it was called is as durable as a commit that has resolved. What another
   * connection has written can be read although it is not: where a standby has to have it too, and its writer died waiting.
   */
  settle(): Promise<void>;
  authorHead(author: string): Promise<ChainHead>;
  /** Of each of these authors, as of one moment, what {@link authorHead} and {@link nodeKey} say. */
  authors(names: readonly string[]): Promise<ReadonlyMap<string, StoredAuthor>>;
  /** The raw Ed25519 key a node is enrolled with, by the entries committed; undefined for one that is not or was revoked. */
  nodeKey(node: string): Promise<Buffer | undefined>;
  /** The stored entries of an author with numbers from `fromSeq` to `toSeq`, in order. */
  refs(author: string, fromSeq: number, toSeq: number): Promise<readonly StoredEntryRef[]>;
  /** Leaf hashes of the indexes from `from` up to but not including `to`, 32 bytes each. */
  leafHashes(from: number, to: number): Promise<Buffer>;
  /** Leaves (canonical bytes and signature) of the same span, in order; shorter where a body is gone. */
  leaves(from: number, to: number): Promise<readonly Buffer[]>;
  /** `ledger.erased` entries, in order, not believed. */
  erasures(): Promise<readonly StoredStatement[]>;
  /** Full tiles in the order asked for; undefined where one does not exist. */
  tiles(refs: readonly TileId[]): Promise<readonly (Buffer | undefined)[]>;
  /** The largest batch; undefined without any. */
  lastBatch(): Promise<Omit<Batch, 'origin' | 'from'> | undefined>;
}
