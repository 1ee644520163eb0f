import type { SignedEntry } from '../../common/entry.ts';
import { entriesAfter, entryKey, ownEntry, unpackRecord } from './layout.ts';
import { type OutboxDb, pages } from './level-store.ts';

export interface ReadBounds {
  readonly maxEntries: number;
  /** Canonical bytes of all entries together; passed only by a single entry that is larger. */
  readonly maxBytes: number;
}

export interface Found {
  readonly entries: readonly SignedEntry[];
  /** What is wrong with the entry after these; undefined for nothing. */
  readonly damaged: string | undefined;
}

/**
 * Entries after number `after`, in order and without a hole. Signatures were checked when the outbox was opened; only
 * the bytes are compared with their hash again, since LevelDB does not.
 */
export async function readEntries(
  db: OutboxDb,
  generation: number,
  after: number,
  { maxEntries, maxBytes }: ReadBounds,
): Promise<Found> {
  const entries: SignedEntry[] = [];
  let bytes = 0;
  try {
    for await (const page of pages(db, { ...entriesAfter(generation, after), limit: maxEntries })) {
      for (const [key, value] of page) {
        const seq = after + entries.length + 1;
        const signed = key === entryKey(generation, seq) ? unpackEntry(value) : undefined;
        if (signed?.entry.seq !== seq) return { entries, damaged: `entry ${seq} is missing or damaged` };
        bytes += signed.bytes.length;
        if (entries.length > 0 && bytes > maxBytes) return { entries, damaged: undefined };
        entries.push(signed);
      }
    }
    return { entries, damaged: undefined };
  } catch (cause) {
    return { entries, damaged: cause instanceof Error ? cause.message : String(cause) };
  }
}

function unpackEntry(value: Buffer): SignedEntry | undefined {
  const record = unpackRecord(value);
  const entry = record && ownEntry(record.bytes);
  return entry && record && { entry, bytes: record.bytes, signature: record.signature };
}

/** Hex hash of one queued entry, or undefined when it is not there as it was stored. */
export async function hashAt(db: OutboxDb, generation: number, seq: number): Promise<string | undefined> {
  const value = await db.get(entryKey(generation, seq));
  return value === undefined ? undefined : unpackRecord(value)?.hash;
}
