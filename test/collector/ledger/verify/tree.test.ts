import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FullTile } from '../../../../collector/ledger/store.ts';
import { growTail } from '../../../../collector/ledger/tail.ts';
import {
  type FullTileReader,
  GrowingTree,
  partialTilesFrom,
  rangeFromTiles,
} from '../../../../collector/ledger/verify/tree.ts';
import { appendLeaves, emptyRange, encodeRange } from '../../../../common/merkle.ts';

/** Enough for a full tile of the second level. */
const leafCount = 66_000;
const leaves = Array.from({ length: leafCount }, (_, i) => hash('sha256', String(i), 'buffer'));

function grown(count: number): { tree: GrowingTree; tiles: readonly FullTile[] } {
  const tree = new GrowingTree();
  for (const leaf of leaves.slice(0, count)) tree.push(leaf.toString('latin1'));
  return { tree, tiles: tree.takeFilled() };
}

const all = grown(leafCount);

/** Knows only the tiles that are full at `size`. */
function tilesAt(size: number): FullTileReader {
  const known = new Map(
    all.tiles
      .filter(({ level, index }) => (index + 1) * 256 ** (level + 1) <= size)
      .map((tile) => [`${tile.level}/${tile.index}`, tile.hashes]),
  );
  return async (ids) => ids.map(({ level, index }) => known.get(`${level}/${index}`));
}

test('a tree grown leaf by leaf is the tree that appending makes, tile for tile', () => {
  const empty = { head: { origin: 'x', range: emptyRange }, partial: [] };
  const { tail, tiles } = growTail(empty, leaves);
  assert.deepEqual(encodeRange(all.tree.range), encodeRange(tail.head.range));
  const name = ({ level, index, hashes }: FullTile) => `${level}/${index} ${hashes.toString('hex')}`;
  assert.deepEqual(all.tiles.map(name).sort(), tiles.map(name).sort());
  assert.ok(all.tiles.some(({ level }) => level === 1));
});

test('the tree of any earlier size follows from full tiles alone', async () => {
  const sizes = fc.tuple(fc.nat(leafCount), fc.nat(257));
  await fc.assert(
    fc.asyncProperty(sizes, async ([size, tilesOfMore]) => {
      const fullSize = Math.min(Math.ceil(size / 256) + tilesOfMore, Math.floor(leafCount / 256)) * 256;
      if (fullSize < size) return;
      const range = await rangeFromTiles(tilesAt(fullSize), size, fullSize);
      assert.ok(range !== undefined);
      assert.deepEqual(encodeRange(range), encodeRange(appendLeaves(emptyRange, leaves.slice(0, size))));
    }),
    { numRuns: 60 },
  );
});

test('a tree taken up at a tile boundary goes on as if it had never been put down', async () => {
  for (const size of [0, 256, 512, 40_960, 65_536, 65_792]) {
    const partial = await partialTilesFrom(tilesAt(size), size);
    assert.ok(partial !== undefined);
    const tree = new GrowingTree(appendLeaves(emptyRange, leaves.slice(0, size)), partial);
    for (const leaf of leaves.slice(size)) tree.push(leaf.toString('latin1'));
    assert.deepEqual(tree.root(), all.tree.root());
    const later = all.tiles.filter(({ level, index }) => (index + 1) * 256 ** (level + 1) > size);
    assert.deepEqual(tree.takeFilled(), later);
  }
});

test('a tile that is missing is missed', async () => {
  const none: FullTileReader = async (ids) => ids.map(() => undefined);
  assert.equal(await rangeFromTiles(none, 300, 512), undefined);
  assert.equal(await rangeFromTiles(none, 65_536, 65_792), undefined);
  assert.equal(await partialTilesFrom(none, 512), undefined);
});
