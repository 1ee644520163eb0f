import type { ChainHead, SignedEntry } from '../common/entry.ts';
import type { Statement } from '../common/kinds.ts';

/** At most this much of one read; a single entry larger than `maxBytes` (canonical bytes) is still handed out. */
export interface ReadBound {
  readonly maxEntries: number;
  readonly maxBytes: number;
}

/** Where the author chain is said to stand in the ledger. */
export interface LedgerHead extends ChainHead {
  /** True once its entry was proved to be in a checkpoint that was accepted; else it is the collector's word alone. */
  readonly proved?: boolean;
}

/**
 * What the link needs of the agent's durable queue.
 *
 * Durability: an entry that was ever read is durable, and stays until a `trim` through it has resolved. `trim` keeps
 * entry removal and checkpoint together: after a crash either both are in force or neither.
 * Concurrency: `read` may run beside an append; the link makes no two calls of its own at the same time but
 * `read` beside `trim`. Retry: every call may be made again after a failure.
 */
export interface LinkOutbox {
  /** End of this node's author chain. */
  readonly head: ChainHead;
  /** Last entry that the ledger has proved to hold; reading continues after it. */
  readonly acked: ChainHead;
  /** Entries not acknowledged, and their size in canonical bytes. */
  readonly depth: number;
  readonly bytes: number;
  /** False while the outbox does not know where its chain stands: until {@link anchor}, nothing can be read. */
  readonly anchored: boolean;
  /** Consecutive entries from number `afterSeq + 1` on; none when there are no more. */
  read(afterSeq: number, bound: ReadBound): Promise<readonly SignedEntry[]>;
  /**
   * Drops all entries up to and including `throughSeq` and remembers the checkpoint that proved them. `throughSeq`
   * may be the one already acknowledged: then only the checkpoint moves.
   */
  trim(throughSeq: number, checkpointNote: string): Promise<void>;
  /**
   * Compares where our chain is said to stand with the chain itself, and drops nothing: an outbox that lost its place goes on
   * from there if the head is proved.
   * @throws AppError `ledger.sequence` when it cannot go on from there.
   */
  anchor(head: LedgerHead): Promise<void>;
  /** Note of the last checkpoint remembered, if any. */
  checkpoint(): string | undefined;
  /** Calls `listener` after every durable append. @returns the function that ends it. */
  onAppended(listener: () => void): () => void;
}

/** One durable fact of the agent beside its entries; `undefined` removes it. */
export interface StateChange {
  readonly key: string;
  readonly value: unknown;
}

/**
 * Where the agent says things. An entry and the note that it was said are one durable write, so after any crash the agent
 * knows exactly what the ledger will hear from it.
 *
 * Durability: resolved means on disk. Concurrency: calls may overlap; they take effect in the order they were
 * made. Retry: a rejected call had no effect at all, neither entries nor state, and may be made again.
 */
export interface Journal {
  /**
   * Says `statements` and makes `changes`, all or nothing. Resolves to fewer entries than statements only for
   * periodic ones that a full outbox has dropped and counted.
   * @throws AppError `outbox.full` (retryable) when there is no room, `outbox.write_failed` (retryable).
   */
  append(statements: readonly Statement[], changes?: readonly StateChange[]): Promise<readonly SignedEntry[]>;
  /** Facts whose keys begin with `prefix`; JSON values. */
  state(prefix?: string): Promise<ReadonlyMap<string, unknown>>;
}
