import { limits } from '../../../common/limits.ts';
import type { Pacer } from '../pacer.ts';
import type { KeyRange } from '../table-scan.ts';
import { type ByteFile, presentFile } from './byte-file.ts';
import { type EntryView, isPresent } from './entry.ts';
import { readInventory } from './inventory-file.ts';

/** A sigil that the store had at its last full scan, or at an earlier one where that could not see. */
export interface KnownSigil {
  readonly key: Buffer;
  /** Of its latest sound record; empty where none had one. */
  readonly updatedAt: string;
}

export interface SigilsFound {
  /** In the order of their keys. */
  readonly sigils: readonly KnownSigil[];
  /** False when there was no room for all. */
  readonly isWhole: boolean;
}

/** What an inventory has in some ranges. */
export interface InventoryRanges {
  /** When it was written, Unix milliseconds. */
  readonly writtenMs: number;
  /** For each range in turn. */
  readonly found: readonly SigilsFound[];
}

const entriesPerRest = 64;

interface Sought {
  readonly range: KeyRange;
  readonly sigils: KnownSigil[];
  isWhole: boolean;
}

/**
 * Reads the inventory at that path once, no further than the last of the ranges. Keys in memory are bounded.
 * @returns null when there is none, or one too large to be read for this
 * @throws AppError `state.conflict` for one that is torn, of another store, or none of ours
 */
export async function sigilsInRanges(
  path: string,
  store: string,
  ranges: readonly KeyRange[],
  pacer: Pacer,
): Promise<InventoryRanges | null> {
  const file = await presentFile(path);
  if (file === null) return null;
  try {
    if (file.bytes > limits.inventoryOfPlacesBytes) return null;
    const sought = ranges.map((range): Sought => ({ range, sigils: [], isWhole: true }));
    await collect(file, store, sought, pacer);
    return { writtenMs: await file.writtenMs(), found: sought };
  } finally {
    await file.close();
  }
}

async function collect(file: ByteFile, store: string, sought: readonly Sought[], pacer: Pacer): Promise<void> {
  const entries = await readInventory(file, store, pacer);
  const room = { keys: limits.keysOfPlacesHeld, bytes: limits.keysOfPlacesHeldBytes };
  // Entries come in the order of their keys, so each range begins once and ends once.
  const coming = sought.toSorted((left, right) => Buffer.compare(right.range.from, left.range.from));
  let here: Sought[] = [];
  for (let steps = 1, more = await entries.next(); more; more = await entries.next()) {
    const { entry } = entries;
    for (
      let next = coming.at(-1);
      next !== undefined && compareKey(entry, next.range.from) >= 0;
      next = coming.at(-1)
    ) {
      here.push(next);
      coming.pop();
    }
    if (here.length > 0) here = here.filter(({ range }) => compareKey(entry, range.to) <= 0);
    if (here.length === 0 && coming.length === 0) return;
    if (entry.has(isPresent)) for (const one of here) hold(one, entry, room);
    if (steps++ % entriesPerRest === 0 && pacer.due) await pacer.rest();
  }
}

function compareKey({ bytes, keyStart, keyEnd }: EntryView, key: Buffer): number {
  return bytes.compare(key, 0, key.length, keyStart, keyEnd);
}

function hold(one: Sought, entry: EntryView, room: { keys: number; bytes: number }): void {
  const { key, bytes, idEnd, end } = entry;
  if (room.keys === 0 || key.length > room.bytes) {
    one.isWhole = false;
    return;
  }
  room.keys--;
  room.bytes -= key.length;
  one.sigils.push({ key: Buffer.from(key), updatedAt: bytes.toString('utf8', idEnd, end) });
}
