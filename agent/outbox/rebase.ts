import { type ChainHead, type Entry, headAfter, type SignedEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import type { Statement } from '../../common/kinds.ts';
import type { Seal } from './admission.ts';
import { entriesAfter, entryKey, ownEntry, packRecord, storedBytes, unpackRecord } from './layout.ts';
import { type BatchOp, type OutboxDb, pages, writeDurably } from './level-store.ts';
import type { Standing, Unanchored } from './standing.ts';

/**
 * Writes all queued entries again as the next generation: numbered from `ledgerHead`, chained, signed, their time kept.
 * All, also those that the ledger may hold under their old numbers: that a later entry is in it proves nothing about them,
 * and saying something twice is better than not at all. The outbox does not change until its standing is switched to the
 * result; a crash before that leaves a generation that the next start sweeps away.
 */
export async function rebase(db: OutboxDb, from: Standing, ledgerHead: ChainHead, seal: Seal) {
  const generation = from.generation + 1;
  await db.clear({ gte: entryKey(generation, 0), lt: entryKey(generation + 1, 0) });
  let head = ledgerHead;
  let bytes = 0;
  for await (const page of pages(db, entriesAfter(from.generation, from.acked.seq))) {
    const ops: BatchOp[] = [];
    for (const [key, value] of page) {
      const signed = resealed(key, value, head, seal);
      ops.push({ type: 'put', key: entryKey(generation, signed.entry.seq), value: packRecord(signed) });
      head = headAfter(signed);
      bytes += storedBytes(signed.bytes.length);
    }
    await writeDurably(db, ops);
  }
  const unanchored: Unanchored = { keep: ledgerHead.seq, ackedKnown: true, based: true };
  const standing: Standing = { ...from, generation, acked: ledgerHead, unanchored, head, bytes };
  return standing;
}

function resealed(key: string, value: Buffer, head: ChainHead, seal: Seal): SignedEntry {
  const record = unpackRecord(value);
  const entry = record === undefined ? undefined : ownEntry(record.bytes);
  if (entry === undefined)
    throw new AppError('outbox.corrupt', `entry ${key} is damaged; restart the agent to salvage`);
  return seal(statementOf(entry), head, Date.parse(entry.at));
}

function statementOf(entry: Entry): Statement {
  const { v, author, seq, prev, at, ...statement } = entry;
  return statement;
}
