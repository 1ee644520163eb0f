import { hashBytes } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { appendLeaves, type CompactRange, emptyRange, rootOf, splitHashes } from '../../common/merkle.ts';
import { fullTileWidth, type TileId, tileWidth } from '../../common/tiles.ts';
import type { FullTile, LedgerStore, TreeHead } from './store.ts';

/**
 * The growing end of the log: the tree head and, for each tile level, the hashes of the tile that is not full yet.
 * All that appending and serving partial tiles need; at most 256 hashes for each of a handful of levels. A value.
 */
export interface Tail {
  readonly head: TreeHead;
  /** `partial[level]`, fewer than 256 hashes each; a missing level has none. */
  readonly partial: readonly (readonly Buffer[])[];
}

/** What the tail is read back from. */
export type TreeStore = Pick<LedgerStore, 'leafHashes' | 'tiles'>;

/** Levels of the tree in one tile (C2SP tlog-tiles). */
const tileHeight = 8;

/** The tail after `leafHashes`, and the tiles that they filled. Pure. */
export function growTail(tail: Tail, leafHashes: readonly Buffer[]): { tail: Tail; tiles: FullTile[] } {
  const partial = tail.partial.map((hashes) => [...hashes]);
  const tiles: FullTile[] = [];
  const range = appendLeaves(tail.head.range, leafHashes, (node, hash) => {
    if (node.level % tileHeight !== 0) return;
    const level = node.level / tileHeight;
    const hashes = partial[level] ?? [];
    partial[level] = hashes;
    hashes.push(hash);
    if (hashes.length < fullTileWidth) return;
    tiles.push({ level, index: Math.floor(node.index / fullTileWidth), hashes: Buffer.concat(hashes) });
    partial[level] = [];
  });
  return { tail: { head: { origin: tail.head.origin, range }, partial }, tiles };
}

/**
 * Reads the tail back from what is stored, and checks that it adds up to the stored tree head.
 * @throws AppError `ledger.tampered` when it does not.
 */
export async function loadTail(store: TreeStore, head: TreeHead): Promise<Tail> {
  const size = head.range.size;
  const partial: Buffer[][] = [];
  for (let level = 0; Math.floor(size / fullTileWidth ** level) > 0; level++) {
    partial.push(await loadPartial(store, level, size));
  }
  const tail = { head, partial };
  if (!rootOf(rangeOf(tail)).equals(rootOf(head.range))) {
    throw new AppError('ledger.tampered', `the tiles at the end of the ledger do not lead to its root at size ${size}`);
  }
  return tail;
}

/** Entries that are read to continue a tail; from there on reading it back anew costs less. */
const maxContinuedEntries = 4 * fullTileWidth;

/** The tail with `head`, continued from an earlier one; undefined when that one is not where the tree comes from, or too long ago. */
export async function continueTail(
  store: Pick<TreeStore, 'leafHashes'>,
  before: Tail,
  head: TreeHead,
): Promise<Tail | undefined> {
  const [from, to] = [before.head.range.size, head.range.size];
  if (from > to || to - from > maxContinuedEntries || before.head.origin !== head.origin) return undefined;
  const { tail } = growTail(before, splitHashes(await store.leafHashes(from, to)));
  const same = tail.head.range.size === to && rootOf(tail.head.range).equals(rootOf(head.range));
  return same ? { ...tail, head } : undefined;
}

async function loadPartial(store: TreeStore, level: number, size: number): Promise<Buffer[]> {
  const count = Math.floor(size / fullTileWidth ** level);
  const start = count - (count % fullTileWidth);
  if (level === 0) return splitHashes(await store.leafHashes(start, count));
  const below = Array.from({ length: count - start }, (_, i): TileId => ({ level: level - 1, index: start + i }));
  const tiles = await store.tiles(below);
  return tiles.map((tile, i) => {
    if (tile === undefined) throw missingTile(level - 1, start + i);
    return rootOf(appendLeaves(emptyRange, splitHashes(tile)));
  });
}

/** The compact range that the partial tiles alone add up to. */
function rangeOf(tail: Tail): CompactRange {
  const hashes = tail.partial
    .map((level) => appendLeaves(emptyRange, level).hashes)
    .reverse()
    .flat();
  return { size: tail.head.range.size, hashes };
}

/** Bytes of a partial or full tile as the tail knows it; undefined when the tile lies before the tail. */
export function tileInTail(tail: Tail, ref: TileId): Buffer | undefined {
  const width = tileWidth(ref, tail.head.range.size);
  if (width === 0 || width === fullTileWidth) return undefined;
  return Buffer.concat(tail.partial[ref.level] ?? [], width * hashBytes);
}

export function missingTile(level: number, index: number): AppError {
  return new AppError('ledger.tampered', `tile ${index} of level ${level} is missing from the ledger`);
}
