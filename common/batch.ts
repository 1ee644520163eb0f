import type { KeyObject } from 'node:crypto';
import { signBytes, verifyBytes } from './keys.ts';

/**
 * What one group commit added to the ledger, as the collector vouches for it: the tree after it and when that was. This is
 * where an entry's time of receipt comes from, and how the ledger of a past moment is found again.
 */
export interface Batch {
  /** Name of the ledger. */
  readonly origin: string;
  /**
   * Tree size before: that of the batch before, 0 for the first. Signed, so that none in between can be taken away: its
   * entries would seem to have been received with those of the next.
   */
  readonly from: number;
  /** Tree size and root hash once the batch is in. */
  readonly size: number;
  readonly root: Buffer;
  /** By the collector's clock, Unix milliseconds. */
  readonly receivedAtMs: number;
}

/**
 * What the collector signs. Not a checkpoint on purpose: it is signed before the transaction commits, and one that was
 * rolled back must prove nothing to anybody who finds its remains in the database's files.
 */
export function batchBytes({ origin, from, size, root, receivedAtMs }: Batch): Buffer {
  const lines = ['sigilwatch/batch/v1', origin, from, size, root.toString('base64'), receivedAtMs, ''];
  return Buffer.from(lines.join('\n'));
}

/** 64-byte Ed25519 signature by the collector's key. */
export function signBatch(batch: Batch, collectorKey: KeyObject): Buffer {
  return signBytes(collectorKey, batchBytes(batch));
}

/** Whether the collector's key vouches for the batch. */
export function verifyBatch(batch: Batch, signature: Buffer, collectorKey: KeyObject): boolean {
  return verifyBytes(collectorKey, batchBytes(batch), signature);
}
