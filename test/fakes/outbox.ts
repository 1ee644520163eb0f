import type { KeyObject } from 'node:crypto';
import type { LinkOutbox } from '../../agent/ports.ts';
import { type ChainHead, genesis, headAfter, type SignedEntry, sealEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import type { Statement } from '../../common/kinds.ts';

export interface MemoryOutbox extends LinkOutbox {
  /** Numbers, signs and keeps a statement. */
  append(statement: Statement): SignedEntry;
  /** Every `trim` that removed something. */
  readonly trims: readonly number[];
}

/** When an entry says it was made, unless somebody says otherwise: Unix milliseconds, another for each number. */
const madeAtMs = (seq: number): number => 1_700_000_000_000 + seq;

/** The agent's queue in memory, for tests of the link alone, and for benches of many links. */
export function memoryOutbox(author: string, privateKey: KeyObject, atMs = madeAtMs): MemoryOutbox {
  const listeners = new Set<() => void>();
  const trims: number[] = [];
  let waiting: SignedEntry[] = [];
  const heads = new Map<number, ChainHead>([[0, genesis]]);
  let head: ChainHead = genesis;
  let acked: ChainHead = genesis;
  let note: string | undefined;
  return {
    get head() {
      return head;
    },
    get acked() {
      return acked;
    },
    get depth() {
      return waiting.length;
    },
    get bytes() {
      return waiting.reduce((sum, { bytes }) => sum + bytes.length, 0);
    },
    anchored: true,
    trims,
    append: (statement) => {
      const signed = sealEntry(statement, { author, head, now: atMs(head.seq), privateKey });
      head = headAfter(signed);
      heads.set(head.seq, head);
      waiting.push(signed);
      for (const listener of listeners) listener();
      return signed;
    },
    read: async (afterSeq, { maxEntries, maxBytes }) => {
      const batch: SignedEntry[] = [];
      let bytes = 0;
      for (const signed of waiting) {
        if (signed.entry.seq <= afterSeq) continue;
        bytes += signed.bytes.length;
        if (batch.length === maxEntries || (batch.length > 0 && bytes > maxBytes)) break;
        batch.push(signed);
      }
      return batch;
    },
    trim: async (throughSeq, checkpointNote) => {
      if (throughSeq > acked.seq) trims.push(throughSeq);
      waiting = waiting.filter(({ entry }) => entry.seq > throughSeq);
      acked = heads.get(throughSeq) ?? acked;
      note = checkpointNote;
    },
    anchor: async (offered) => {
      const own = heads.get(offered.seq);
      if (own?.hash === offered.hash) return;
      throw new AppError('ledger.sequence', `the ledger holds ${offered.seq} entries of ${author} that are not ours`);
    },
    checkpoint: () => note,
    onAppended: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
