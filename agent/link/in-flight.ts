import type { Checkpoint } from '../../common/checkpoint.ts';
import { decodeBase64Hash } from '../../common/encoding.ts';
import type { SignedEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { leafHash } from '../../common/merkle.ts';
import { expandProof, verifyInclusion } from '../../common/proof.ts';
import type { CollectorMessage, MessageOf } from '../../common/protocol.ts';

export type Ack = MessageOf<CollectorMessage, 'ack'>;

interface SentEntry {
  readonly seq: number;
  readonly leafHash: Buffer;
}

interface SentBatch {
  readonly lastSeq: number;
  /** Monotonic milliseconds. */
  readonly atMs: number;
}

/**
 * What was sent and is not acknowledged: of each entry only its number and leaf hash, so memory is bounded by the
 * number of entries in flight and not by their size.
 */
export interface InFlight {
  /** Batches that are not acknowledged to their end. */
  readonly batches: number;
  /** When the oldest of them was sent, monotonic milliseconds. */
  readonly oldestMs: number | undefined;
  sent(entries: readonly SignedEntry[], nowMs: number): void;
  /**
   * Checks every inclusion proof of an ack against the hashes of what we sent.
   * @returns the number of the last entry proved.
   * @throws AppError `validation.protocol` for an ack of something else than the oldest entries in flight, `ledger.proof`
   *   for a proof that does not hold; nothing counts as acknowledged then.
   */
  acknowledge(ack: Ack, checkpoint: Checkpoint): number;
}

export function createInFlight(): InFlight {
  const entries: SentEntry[] = [];
  const batches: SentBatch[] = [];
  return {
    get batches() {
      return batches.length;
    },
    get oldestMs() {
      return batches[0]?.atMs;
    },
    sent: (signed, nowMs) => {
      for (const { entry, bytes, signature } of signed) {
        entries.push({ seq: entry.seq, leafHash: leafHash(bytes, signature) });
      }
      const lastSeq = signed.at(-1)?.entry.seq;
      if (lastSeq !== undefined) batches.push({ lastSeq, atMs: nowMs });
    },
    acknowledge: (ack, checkpoint) => {
      const throughSeq = verifyAck(ack, checkpoint, entries);
      entries.splice(0, ack.entries.length);
      while (batches[0] !== undefined && batches[0].lastSeq <= throughSeq) batches.shift();
      return throughSeq;
    },
  };
}

/**
 * Checks that `entries` are in the tree of `checkpoint`, in the places that `said` names.
 * @throws AppError `validation.protocol` when it is about other entries, `ledger.proof` for a proof that does not hold.
 */
export function verifyPlaces(
  said: Pick<Ack, 'entries' | 'hashes'>,
  { size, root }: Checkpoint,
  entries: readonly SentEntry[],
): void {
  const shared = { hashes: said.hashes.map(readHash), proofs: said.entries.map(({ proof }) => proof) };
  said.entries.forEach(({ seq, index }, at) => {
    const entry = entries[at];
    if (entry?.seq !== seq) throw misdirected(seq, entry?.seq);
    verifyInclusion({ leafHash: entry.leafHash, index, size, root, proof: expandProof(shared, at) });
  });
}

function verifyAck(ack: Ack, checkpoint: Checkpoint, inFlight: readonly SentEntry[]): number {
  verifyPlaces(ack, checkpoint, inFlight);
  const last = ack.entries.at(-1);
  if (last === undefined) throw new AppError('validation.protocol', 'an ack that acknowledges nothing');
  return last.seq;
}

function readHash(text: string): Buffer {
  const hash = decodeBase64Hash(text);
  if (hash === undefined) throw new AppError('validation.protocol', 'a proof hash that is not one');
  return hash;
}

function misdirected(seq: number, expected: number | undefined): AppError {
  const awaited = expected === undefined ? 'nothing is in flight' : `entry ${expected} is the next in flight`;
  return new AppError('validation.protocol', `an ack of entry ${seq}, while ${awaited}`);
}
