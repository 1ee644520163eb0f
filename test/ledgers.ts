import assert from 'node:assert/strict';
import { Ledger } from '../collector/ledger/ledger.ts';
import type { PublishedCheckpoint } from '../collector/ledger/publisher.ts';
import type { LedgerStore } from '../collector/ledger/store.ts';
import { openCheckpoint } from '../common/checkpoint.ts';
import type { Clock } from '../common/clock.ts';
import { parseVerifierKey } from '../common/note.ts';
import { verifyConsistency } from '../common/proof.ts';
import { firstEntryMs, testAuthor } from './authors.ts';

export const testOrigin = 'sigilwatch.test/ledger';
export const collectorKeys = testAuthor('collector').keys;

/** A clock that stands still. */
export const stoppedClock: Clock = { now: () => firstEntryMs, monotonicMs: () => 0 };

/** A ledger over the store, started. */
export async function startLedger(store: LedgerStore): Promise<Ledger> {
  const ledger = new Ledger({ store, origin: testOrigin, keys: collectorKeys, clock: stoppedClock });
  await ledger.start();
  return ledger;
}

/** Checks the signatures of all checkpoints, and through proofs of `ledger` that each one continues all smaller ones. */
export async function assertOneHistory(ledger: Ledger, published: Iterable<PublishedCheckpoint>): Promise<void> {
  const key = parseVerifierKey(ledger.vkey);
  const distinct = new Map([...published].map((checkpoint) => [checkpoint.note, checkpoint]));
  const heads = [...distinct.values()].map(({ note, size, root }) => {
    const { checkpoint } = openCheckpoint(note, key);
    assert.deepEqual(checkpoint, { origin: ledger.origin, size, root, extensions: [] });
    return checkpoint;
  });
  heads.sort((a, b) => a.size - b.size);
  for (const [at, { size: newSize, root: newRoot }] of heads.entries()) {
    for (const { size: oldSize, root: oldRoot } of heads.slice(0, at)) {
      const proof = await ledger.consistency(oldSize, newSize);
      verifyConsistency({ oldSize, oldRoot, newSize, newRoot, proof });
    }
  }
}
