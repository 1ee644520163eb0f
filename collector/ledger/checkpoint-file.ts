/** A checkpoint as it is kept. */
export interface KeptCheckpoint {
  readonly size: number;
  /** C2SP signed note. */
  readonly note: string;
}

/**
 * The newest checkpoint ever published from here, kept outside the database: what a database put back to an older state,
 * or replaced by another, is held against. Declared by the publisher.
 *
 * `write` is called before a checkpoint is handed to anybody, so the file is never behind what was published. Once it has
 * resolved, every later `read` answers that note or one of a larger tree, also after this process was killed; a power
 * cut may undo what was written within the last `limits.checkpointFileSyncMs`, which restoring a backup does not.
 * Several processes may share one file: the larger tree stays. Both reject, retryably, when the disk refuses.
 */
export interface CheckpointFile {
  /** Where it is, for messages. */
  readonly path: string;
  /**
   * The note that is there, not verified; undefined when there is none. Cheap while nobody else writes.
   * @throws AppError `ledger.checkpoint_file` when there is something that cannot be read.
   */
  read(): Promise<string | undefined>;
  /** @throws AppError `ledger.checkpoint_file` (retryable) when it cannot be written. */
  write(checkpoint: KeptCheckpoint): Promise<void>;
  /** Resolves when all that was written survives a power cut; nothing is written afterwards. */
  close(): Promise<void>;
}

/** Two things signed by the ledger's key that cannot both be true, or one that the database does not bear out. */
export interface Contradiction {
  readonly reason: string;
  /** Checkpoints signed by the ledger's key that the database must contain, but does not, or not all of them. */
  readonly notes: readonly string[];
  /** What the database holds; undefined when it has no tree head. */
  readonly found: { readonly size: number; readonly root: string } | undefined;
}

/** Where contradictions are kept until somebody has understood them. Outside the database. */
export interface EvidenceFolder {
  readonly path: string;
  /** Durable when it resolves. @returns the file's path. */
  keep(contradiction: Contradiction): Promise<string>;
  /** The notes of everything kept. @throws AppError `ledger.checkpoint_file` naming a file that cannot be read. */
  notes(): Promise<readonly string[]>;
}

/** For a ledger whose process is all there is of it: nothing outlives it. */
export function forgetfulFile(): CheckpointFile {
  return { path: '(nowhere)', read: async () => undefined, write: async () => {}, close: async () => {} };
}

export function forgetfulEvidence(): EvidenceFolder {
  return { path: '(nowhere)', keep: async () => '(nowhere)', notes: async () => [] };
}
