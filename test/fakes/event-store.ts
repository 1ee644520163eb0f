import type { EventStore, StoredEvent } from '../../collector/events/ports.ts';
import { entryHash, leafData, type SignedEntry } from '../../common/entry.ts';
import { limits } from '../../common/limits.ts';
import { leafHash } from '../../common/merkle.ts';

/** What a ledger holds, in memory. */
export interface MemoryEvents extends EventStore {
  append(entries: readonly SignedEntry[]): void;
  /** As retention does. */
  eraseBody(index: number): void;
  readonly entries: readonly SignedEntry[];
  /** Calls of `page`. */
  readonly pagesRead: number;
  /** Called before each page is looked at, and waited for. */
  onRead: () => Promise<void>;
}

export function memoryEvents(): MemoryEvents {
  const entries: SignedEntry[] = [];
  const stored: StoredEvent[] = [];
  let pagesRead = 0;
  const events: MemoryEvents = {
    entries,
    get pagesRead() {
      return pagesRead;
    },
    onRead: async () => {},
    append: (more) => {
      for (const signed of more) {
        stored.push(storedEvent(signed, entries.length));
        entries.push(signed);
      }
    },
    eraseBody: (index) => {
      const event = stored[index];
      if (event !== undefined) stored[index] = { ...event, bytes: null, signature: null };
    },
    size: async () => entries.length,
    page: async ({ from, to, kinds, authors }) => {
      pagesRead += 1;
      await events.onRead();
      const asked = stored
        .slice(from, to)
        .filter(({ kind, author }) => (kinds?.includes(kind) ?? true) && (authors?.includes(author) ?? true));
      const found = asked.slice(0, limits.eventPageEntries);
      let bytes = 0;
      const page = found.filter((event) => {
        const fits = bytes < limits.eventPageBytes;
        bytes += event.bytes?.length ?? 0;
        return fits;
      });
      const isWhole = page.length === found.length && page.length < limits.eventPageEntries;
      const last = page.at(-1)?.index ?? from - 1;
      return { events: page, next: isWhole && to !== undefined ? to : last + 1 };
    },
    nodesOfOrders: async () => new Map(),
  };
  return events;
}

function storedEvent(signed: SignedEntry, index: number): StoredEvent {
  const { entry, bytes, signature } = signed;
  return {
    ...{ index, author: entry.author, seq: entry.seq, kind: entry.kind, bytes, signature },
    at: new Date(entry.at),
    received_at: new Date(entry.at),
    entry_hash: Buffer.from(entryHash(bytes), 'hex'),
    leaf_hash: leafHash(leafData(signed)),
  };
}
