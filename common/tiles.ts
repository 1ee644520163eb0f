import { decodeDecimal, hashBytes } from './encoding.ts';
import { AppError } from './errors.ts';
import { limits } from './limits.ts';
import { appendLeaves, emptyRange, type NodeId, nodeHash, rootOf, splitHashes } from './merkle.ts';

/*
 * The log as immutable files, C2SP tlog-tiles: hash tiles of height 8 and bundles of the entries below level 0.
 * Level n of the tiles is level 8n of the tree.
 */

/** Hashes in a full tile, entries in a full bundle. */
export const fullTileWidth = 256;

/** Levels of the tree in one tile. */
const tileHeight = 8;
const maxTileLevel = 63;

/** Which hash tile, however wide: the hashes of tile level `level` from position `index * 256`. */
export interface TileId {
  readonly level: number;
  readonly index: number;
}

/** The first `width` (1 to 256) hashes of a tile. */
export interface HashTile extends TileId {
  readonly kind: 'hashes';
  readonly width: number;
}

/** `width` (1 to 256) entries from ledger index `index * 256`. */
export interface EntryBundle {
  readonly kind: 'entries';
  readonly index: number;
  readonly width: number;
}

export type Tile = HashTile | EntryBundle;

/** Where in the tiles a node of the tree is: the subtree over `count` hashes from place `start` of `tile`. */
export interface TilePlace {
  readonly tile: TileId;
  readonly start: number;
  readonly count: number;
}

/** Path below the log's prefix, without a leading slash: `tile/1/x001/234.p/17`, `tile/entries/000`. */
export function formatTilePath(tile: Tile): string {
  const level = tile.kind === 'entries' ? 'entries' : String(tile.level);
  const suffix = tile.width === fullTileWidth ? '' : `.p/${tile.width}`;
  return `tile/${level}/${formatTileIndex(tile.index)}${suffix}`;
}

/**
 * The tile a path names; only the one spelling {@link formatTilePath} writes is accepted, so caches see one address
 * per tile.
 * @throws AppError `validation.request`.
 */
export function parseTilePath(path: string): Tile {
  const tile = readTilePath(path);
  if (tile === undefined || formatTilePath(tile) !== path) {
    throw new AppError('validation.request', 'not a tile path; expected tile/<level or entries>/<index>[.p/<width>]');
  }
  return tile;
}

function readTilePath(path: string): Tile | undefined {
  const match = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path);
  if (match === null) return undefined;
  const [, levelText = '', indexText = '', widthText] = match;
  const index = Number(indexText.replace(/[x/]/g, ''));
  const width = widthText === undefined ? fullTileWidth : decodeDecimal(widthText);
  if (!Number.isSafeInteger(index) || width === undefined || width < 1 || width > fullTileWidth) return undefined;
  if (levelText === 'entries') return { kind: 'entries', index, width };
  const level = decodeDecimal(levelText);
  return level === undefined || level > maxTileLevel ? undefined : { kind: 'hashes', level, index, width };
}

/** 1234067 as `x001/x234/067`. */
function formatTileIndex(index: number): string {
  const digits = String(index);
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, '0');
  return padded.replace(/[0-9]{3}(?=[0-9])/g, 'x$&/');
}

/** Width (0 to 256) that a tile has in a log of `size` entries; bundles are as wide as level 0. */
export function tileWidth({ level, index }: TileId, size: number): number {
  const hashes = hashesAt(level, size) - index * fullTileWidth;
  return Math.max(0, Math.min(fullTileWidth, hashes));
}

/** Every hash tile of a log of `size` entries, level by level; in total about `size / 255` of them. */
export function* hashTiles(size: number): Generator<HashTile> {
  for (let level = 0; hashesAt(level, size) > 0; level++) {
    const count = Math.ceil(hashesAt(level, size) / fullTileWidth);
    for (let index = 0; index < count; index++) {
      yield { kind: 'hashes', level, index, width: tileWidth({ level, index }, size) };
    }
  }
}

/** Hashes a tile level has: only full tiles are hashed into the level above. */
function hashesAt(level: number, size: number): number {
  return Math.floor(size / fullTileWidth ** level);
}

/** The tree nodes whose hashes, concatenated, are the tile. */
export function tileNodes({ level, index, width }: TileId & { readonly width: number }): NodeId[] {
  const first = index * fullTileWidth;
  return Array.from({ length: width }, (_, i) => ({ level: level * tileHeight, index: first + i }));
}

/** The tile from which `node` can be read, and the part of it that the node spans. */
export function placeOf(node: NodeId): TilePlace {
  const count = 2 ** (node.level % tileHeight);
  const first = node.index * count;
  return {
    tile: { level: Math.floor(node.level / tileHeight), index: Math.floor(first / fullTileWidth) },
    start: first % fullTileWidth,
    count,
  };
}

/**
 * Hash of `node` from the bytes of its tile, partial or full.
 * @throws AppError `ledger.tampered` when the tile does not reach that far.
 */
export function hashFromTile(node: NodeId, tile: Buffer): Buffer {
  const { start, count } = placeOf(node);
  const part = tile.subarray(start * hashBytes, (start + count) * hashBytes);
  if (part.length !== count * hashBytes) {
    throw new AppError('ledger.tampered', `tile of ${tile.length} bytes ends before node ${node.level}/${node.index}`);
  }
  // A power of two of siblings, appended as if they were leaves, leaves exactly their common ancestor.
  return rootOf(appendLeaves(emptyRange, splitHashes(part)));
}

/**
 * Hashes of all complete subtrees over the hashes of a tile, partial or full: `subtrees[n]` are those over `2^n` of them,
 * concatenated. For whoever reads many nodes of one tile.
 * @param known those of the same tile when it had fewer hashes, which are not computed again.
 * @throws AppError `ledger.tampered` for what is not made of hashes.
 */
export function subtreesOf(tile: Buffer, known: readonly Buffer[] = []): readonly Buffer[] {
  if (tile.length % hashBytes !== 0) throw new AppError('ledger.tampered', `${tile.length} bytes are no tile`);
  const rows = [tile];
  for (let below = tile; below.length >= 2 * hashBytes; ) {
    const row = Buffer.allocUnsafe(Math.floor(below.length / 2 / hashBytes) * hashBytes);
    const knownBytes = known[rows.length]?.copy(row) ?? 0;
    for (let at = knownBytes; at < row.length; at += hashBytes) {
      const [left, right, end] = [2 * at, 2 * at + hashBytes, 2 * (at + hashBytes)];
      nodeHash(below.subarray(left, right), below.subarray(right, end)).copy(row, at);
    }
    rows.push(row);
    below = row;
  }
  return rows;
}

/**
 * Entries (leaf bytes) as a bundle: each behind its length as a big-endian 16-bit number.
 * @throws AppError `validation.entry` for more than 256 entries or one of more than 65,535 bytes.
 */
export function encodeBundle(entries: readonly Uint8Array[]): Buffer {
  if (entries.length > fullTileWidth) throw malformedBundle(`more than ${fullTileWidth} entries`);
  const bundle = Buffer.allocUnsafe(entries.reduce((sum, entry) => sum + 2 + entry.length, 0));
  let at = 0;
  for (const entry of entries) {
    if (entry.length > limits.maxLeafBytes) throw malformedBundle(`an entry of ${entry.length} bytes`);
    at = bundle.writeUInt16BE(entry.length, at);
    bundle.set(entry, at);
    at += entry.length;
  }
  return bundle;
}

/**
 * The entries of a bundle, as views of it.
 * @throws AppError `validation.entry` when the bundle ends inside an entry or holds more than 256.
 */
export function decodeBundle(bundle: Buffer): Buffer[] {
  const entries: Buffer[] = [];
  for (let at = 0; at < bundle.length; ) {
    if (entries.length === fullTileWidth) throw malformedBundle(`more than ${fullTileWidth} entries`);
    if (at + 2 > bundle.length) throw malformedBundle('it ends inside a length');
    const start = at + 2;
    at = start + bundle.readUInt16BE(at);
    if (at > bundle.length) throw malformedBundle('it ends inside an entry');
    entries.push(bundle.subarray(start, at));
  }
  return entries;
}

function malformedBundle(reason: string): AppError {
  return new AppError('validation.entry', `malformed entry bundle: ${reason}`);
}
