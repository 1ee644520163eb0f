/** A checkpoint that was put to the witnesses. */
export interface StoredCheckpoint {
  readonly size: number;
  /** Signed by the log alone. */
  readonly note: string;
}

export interface NewestRound extends StoredCheckpoint {
  readonly witnessed: boolean;
}

/** Key name and key id, which together say which key. */
export interface WitnessId {
  readonly witness: string;
  /** Unsigned 32-bit. */
  readonly keyId: number;
}

/** One witness's signature on one checkpoint. */
export interface StoredCosignature extends WitnessId {
  /** `timestamped_signature`, 72 bytes. */
  readonly cosignature: Buffer;
}

/** A span that went without a quorum for too long; times are Unix milliseconds. */
export interface Gap {
  readonly fromSize: number;
  readonly toSize: number;
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** The last that is known of a witness. */
export interface LastCosigned extends WitnessId {
  readonly size: number;
  /** Unix milliseconds, by the database's clock. */
  readonly atMs: number;
}

/** How far the witnesses are behind the ledger. */
export interface Standing {
  readonly ledgerSize: number;
  readonly newest: NewestRound | undefined;
  /** The largest checkpoint that reached its quorum. */
  readonly witnessed: StoredCheckpoint | undefined;
  /** When the first entry after it was received, Unix milliseconds; undefined when there is none. */
  readonly unwitnessedSinceMs: number | undefined;
}

export interface ActiveNode {
  readonly node: string;
  /** Raw Ed25519 key. */
  readonly publicKey: Buffer;
}

/**
 * Where rounds are kept, shared by all collectors of a ledger.
 *
 * Concurrency: any call may run at the same time in several processes; `open`, `reached` and `claimGap` each let exactly
 * one of them succeed. Durability: resolved means committed. Retry: every call may be repeated.
 */
export interface WitnessStore {
  activeNodes(): Promise<readonly ActiveNode[]>;
  standing(): Promise<Standing>;
  /** Begins a round, unless another began less than `notWithinMs` ago or one of this size exists. @returns whether it did. */
  open(checkpoint: StoredCheckpoint, notWithinMs: number): Promise<boolean>;
  checkpoint(size: number): Promise<StoredCheckpoint | undefined>;
  cosignatures(size: number): Promise<readonly StoredCosignature[]>;
  addCosignatures(size: number, added: readonly StoredCosignature[]): Promise<void>;
  /**
   * Marks a checkpoint, and all before it, as vouched for; a span that had to wait longer than `maxUnwitnessedMs` becomes a
   * gap to be told. @returns whether this call was the one.
   */
  reached(size: number, nowMs: number, maxUnwitnessedMs: number): Promise<boolean>;
  /** A gap that is not on record; nobody else gets it for a while. */
  claimGap(): Promise<Gap | undefined>;
  recordedGap(toSize: number, index: number): Promise<void>;
  lastCosigned(of: readonly WitnessId[]): Promise<readonly LastCosigned[]>;
  /** Tells all collectors, this one too. */
  announce(word: string): Promise<void>;
  /** Thins out rounds older than `keptMs`. */
  prune(keptMs: number): Promise<void>;
}
