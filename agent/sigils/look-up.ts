import type { FailedCheck } from '../../common/sigil.ts';

/** What a reader of a store would get under a key now. */
export interface FoundRecord {
  /** Whether it is a record: false for a deletion, and when there is nothing. */
  readonly isPresent: boolean;
  /** Of a record that fails nothing; else empty. */
  readonly updatedAt: string;
  /** What it fails; nothing for a deleted or absent key. */
  readonly failures: readonly FailedCheck[];
  /** A damaged place may hide another record, so nothing follows from what was found. */
  readonly uncertain: boolean;
}

/** Looks up a few keys in a store as it is at that moment: what a scan came by earlier may be so no longer. */
export interface RecordLookUp {
  /**
   * @returns by latin1 text of the key, an answer for each of `keys`
   * @throws AppError `store.*` when the store cannot be looked at
   */
  lookUp(keys: readonly Buffer[]): Promise<ReadonlyMap<string, FoundRecord>>;
}
