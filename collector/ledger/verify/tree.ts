import { hash } from 'node:crypto';
import { hashBytes } from '../../../common/encoding.ts';
import {
  appendLeaves,
  type CompactRange,
  coveringNodes,
  emptyRange,
  type NodeId,
  rootOf,
  splitHashes,
} from '../../../common/merkle.ts';
import { fullTileWidth, hashFromTile, type TileId } from '../../../common/tiles.ts';
import type { FullTile } from '../store.ts';

/** Levels of the tree in one tile (C2SP tlog-tiles). */
const tileHeight = 8;
/** Of an inner node, RFC 6962 §2.1. */
const nodePrefix = 0x01;

/**
 * A tree that only grows, made from its leaf hashes again: the compact range as in `common/merkle`, and the tiles that fill
 * up. Hashes go in and are kept as binary strings, one character per byte, because this is done for every entry there is.
 */
export class GrowingTree {
  #size: number;
  /** As in a compact range. */
  readonly #edge: string[];
  /** `#partial[level]`: the hashes of the tile that is not full yet. */
  readonly #partial: string[][];
  readonly #filled: FullTile[] = [];
  /** What an inner node is the hash of: prefix, left, right. */
  readonly #node = Buffer.alloc(1 + 2 * hashBytes, nodePrefix);

  /** @param partial hashes of the tiles that are not full yet; all that `range` leads to must be known. */
  constructor(range: CompactRange = emptyRange, partial: readonly (readonly Buffer[])[] = []) {
    this.#size = range.size;
    this.#edge = range.hashes.map(binary);
    this.#partial = partial.map((hashes) => hashes.map(binary));
  }

  get size(): number {
    return this.#size;
  }

  get range(): CompactRange {
    return { size: this.#size, hashes: this.#edge.map((text) => Buffer.from(text, 'latin1')) };
  }

  root(): Buffer {
    return rootOf(this.range);
  }

  /** Amortised one node hash. */
  push(leafHash: string): void {
    let [level, index, merged] = [0, this.#size, leafHash];
    this.#keep(level, index, merged);
    while (index % 2 === 1) {
      merged = this.#join(this.#edge.pop() ?? '', merged);
      level += 1;
      index = (index - 1) / 2;
      if (level % tileHeight === 0) this.#keep(level / tileHeight, index, merged);
    }
    this.#edge.push(merged);
    this.#size += 1;
  }

  /** The tiles that are full since it was asked last, in the order in which they became so. */
  takeFilled(): readonly FullTile[] {
    return this.#filled.splice(0);
  }

  #join(left: string, right: string): string {
    this.#node.write(left, 1, 'latin1');
    this.#node.write(right, 1 + hashBytes, 'latin1');
    return hash('sha256', this.#node, 'binary');
  }

  #keep(level: number, index: number, hashed: string): void {
    const hashes = this.#partial[level] ?? [];
    this.#partial[level] = hashes;
    hashes.push(hashed);
    if (hashes.length < fullTileWidth) return;
    const tile = { level, index: Math.floor(index / fullTileWidth), hashes: Buffer.from(hashes.join(''), 'latin1') };
    this.#filled.push(tile);
    this.#partial[level] = [];
  }
}

/** Reads full tiles of a tree that is larger than what is asked about; undefined where one is missing. */
export type FullTileReader = (ids: readonly TileId[]) => Promise<readonly (Buffer | undefined)[]>;

/**
 * The compact range of the first `size` entries, from full tiles alone. `fullSize`, at least `size`, is a size up to which all
 * tiles of the lowest level are full. Undefined when one of them is missing.
 */
export async function rangeFromTiles(
  tiles: FullTileReader,
  size: number,
  fullSize: number,
): Promise<CompactRange | undefined> {
  const hashes: Buffer[] = [];
  for (const node of coveringNodes(0, size)) {
    const found = await nodeFromTiles(tiles, node, fullSize);
    if (found === undefined) return undefined;
    hashes.push(found);
  }
  return { size, hashes };
}

/** The hashes of the tiles that are not full at `size`, a multiple of 256, from the full ones below them. */
export async function partialTilesFrom(tiles: FullTileReader, size: number): Promise<Buffer[][] | undefined> {
  const partial: Buffer[][] = [[]];
  for (let level = 1; fullTileWidth ** level <= size; level++) {
    const count = Math.floor(size / fullTileWidth ** level);
    const first = count - (count % fullTileWidth);
    const below = await tiles(
      Array.from({ length: count - first }, (_, i) => ({ level: level - 1, index: first + i })),
    );
    const hashes = below.flatMap((tile) =>
      tile === undefined ? [] : [rootOf(appendLeaves(emptyRange, splitHashes(tile)))],
    );
    if (hashes.length < below.length) return undefined;
    partial.push(hashes);
  }
  return partial;
}

async function nodeFromTiles(tiles: FullTileReader, node: NodeId, fullSize: number): Promise<Buffer | undefined> {
  const level = Math.floor(node.level / tileHeight);
  const count = 2 ** (node.level % tileHeight);
  const index = Math.floor((node.index * count) / fullTileWidth);
  if ((index + 1) * fullTileWidth ** (level + 1) <= fullSize) {
    const [tile] = await tiles([{ level, index }]);
    return tile?.length === fullTileWidth * hashBytes ? hashFromTile(node, tile) : undefined;
  }
  // The tile that would hold it is not full, so it follows from the tiles one level below.
  const first = node.index * count;
  const below = await tiles(Array.from({ length: count }, (_, i) => ({ level: level - 1, index: first + i })));
  const hashes = below.flatMap((tile) =>
    tile === undefined ? [] : [rootOf(appendLeaves(emptyRange, splitHashes(tile)))],
  );
  return hashes.length === count ? rootOf(appendLeaves(emptyRange, hashes)) : undefined;
}

function binary(bytes: Buffer): string {
  return bytes.toString('latin1');
}
