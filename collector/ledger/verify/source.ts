import type { TileId } from '../../../common/tiles.ts';
import type { StoredStatement } from '../erasure/record.ts';
import type { FullTile } from '../store.ts';

/*
 * What verification reads: the stored rows, as exactly as the database has them. Whoever owns it may have put any value
 * anywhere, so nothing here is believed, and a value that no row of ours can have is a value like any other.
 */

/** An entry as it lies in the database: columns, and what was signed unless it is gone. */
export interface StoredEntry {
  readonly index: number;
  readonly author: string;
  readonly seq: number;
  readonly kind: string;
  /** Whole milliseconds since the Unix epoch. */
  readonly atMs: number;
  /** What the column holds beyond them, 0 to 999. */
  readonly atMicros: number;
  /** Hex. */
  readonly entryHash: string;
  /** One character per byte: making a Buffer for each costs more than the hash itself. */
  readonly leafHash: string;
  readonly body: StoredBody | undefined;
  /** What is wrong with the row that it stands in, when that is none of ours: then nothing else counts. */
  readonly misfit: string | undefined;
  /** Its time is not one that it could share a row with: before that of the entry in front of it, or too far from the first. */
  readonly outOfTime: boolean;
}

/** Canonical bytes and signature, laid out as they are hashed. */
export interface StoredBody {
  /** The prefix of RFC 6962 leaves (one zero byte), canonical bytes, signature. */
  readonly leaf: Buffer;
  /** Length of the canonical bytes. */
  readonly length: number;
}

/** When entries were received. */
export interface StoredBatch {
  readonly size: number;
  readonly root: Buffer;
  /** Decimal, as stored. */
  readonly receivedMs: string;
  readonly signature: Buffer;
}

/** A checkpoint as it was put to the witnesses. */
export interface StoredCheckpoint {
  readonly size: number;
  readonly note: string;
}

/** Where the next entry of an author is going to be attached. Numbers in decimal, as stored; the hash in hex. */
export interface StoredChainHead {
  readonly author: string;
  readonly seq: string;
  readonly hash: string;
  readonly index: string;
}

/** What a node is let in with. Numbers in decimal, times in microseconds since the Unix epoch, the key in hex. */
export interface StoredNode {
  readonly node: string;
  readonly publicKey: string;
  readonly fingerprint: string;
  readonly enrolledAt: string;
  readonly enrolledIndex: string;
  readonly firstIndex: string;
  readonly revokedAt: string | null;
}

/** The stored tree head and all there is beside entries, as of one moment. Numbers in decimal, as stored. */
export interface StoredExtent {
  readonly origin: string;
  readonly size: string;
  readonly root: Buffer;
  readonly edge: Buffer;
  /** There is one row, marked as the only one. */
  readonly single: boolean;
  readonly heads: readonly StoredChainHead[];
  readonly nodes: readonly StoredNode[];
  /** Rows outside of the tree: the lowest index or size that it has no place for. */
  readonly strays: {
    readonly entry: string | null;
    readonly body: string | null;
    readonly batch: string | null;
    readonly checkpoint: string | null;
    /** Level and place. */
    readonly tile: readonly [level: string, n: string] | null;
  };
}

/** Consecutive entries and what belongs to them, being read. */
export interface Reading {
  /** Batches whose size is greater than `from` and at most `to`, by size. */
  readonly batches: Promise<readonly StoredBatch[]>;
  /** Those whose size is greater than `from` and at most `to`, by size. */
  readonly checkpoints: Promise<readonly StoredCheckpoint[]>;
  /** Full tiles whose last entry is one of these, by level and place. */
  readonly tiles: Promise<readonly FullTile[]>;
  /** In order, in groups. Rejects when they cannot be read. */
  readonly entries: AsyncIterable<readonly StoredEntry[]>;
  /** Stops reading; to be called by whoever does not take all. */
  close(): Promise<void>;
}

/** Where the stored rows come from. Read-only; entries may be appended while it is read. */
export interface StoredLedger {
  extent(): Promise<StoredExtent | undefined>;
  /** Begins to read the entries from `from` up to but not including `to` at once, with bounded memory. */
  read(from: number, to: number): Reading;
  /** The entries that say what was erased, of those before `size`, in order. */
  erasures(size: number): Promise<readonly StoredStatement[]>;
  tiles(ids: readonly TileId[]): Promise<readonly (Buffer | undefined)[]>;
}
