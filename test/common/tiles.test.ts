import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { leafHash, type NodeId, rootOf } from '../../common/merkle.ts';
import { consistencyProof, type HashReader, inclusionProof, verifyInclusion } from '../../common/proof.ts';
import {
  decodeBundle,
  encodeBundle,
  formatTilePath,
  fullTileWidth,
  hashFromTile,
  hashTiles,
  parseTilePath,
  placeOf,
  subtreesOf,
  type Tile,
  tileNodes,
  tileWidth,
} from '../../common/tiles.ts';
import { loadVectors } from './load-vectors.ts';
import { naiveRoot, numberedLeaf, numberedLeaves, treeOf } from './trees.ts';

const widthsVector = z.strictObject({
  source: z.string(),
  size: z.int(),
  full: z.array(z.int()),
  partial: z.array(z.int()),
});
const pathVector = z.strictObject({
  source: z.string(),
  path: z.string(),
  level: z.int(),
  index: z.int(),
  width: z.int(),
});

const index = fc.oneof(fc.nat(2_000), fc.maxSafeNat());
const width = fc.integer({ min: 1, max: fullTileWidth });
const tile: fc.Arbitrary<Tile> = fc.oneof(
  fc.record({ kind: fc.constant('hashes' as const), level: fc.nat(63), index, width }, { noNullPrototype: true }),
  fc.record({ kind: fc.constant('entries' as const), index, width }, { noNullPrototype: true }),
);

describe('tile paths', () => {
  for (const { name, vector } of loadVectors('tile-path', pathVector)) {
    test(`published: ${name}`, () => {
      const { path, level, index, width } = vector;
      assert.deepEqual(parseTilePath(path), { kind: 'hashes', level, index, width });
    });
  }

  test('every tile comes back from its path', () => {
    fc.assert(fc.property(tile, (tile) => assert.deepEqual(parseTilePath(formatTilePath(tile)), tile)));
  });

  test('a text is a tile path only if it is the path of the tile it names', () => {
    const piece = fc.constantFrom(
      'tile',
      '/',
      'entries',
      '0',
      '00',
      '000',
      '1',
      '63',
      '64',
      'x001',
      '234',
      '.p/',
      '255',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 9 }), (pieces) => {
        const path = pieces.join('');
        try {
          assert.equal(formatTilePath(parseTilePath(path)), path);
        } catch (error) {
          assert.equal(Object(error).code, 'validation.request');
        }
      }),
    );
  });

  for (const path of [
    '',
    '/tile/0/000',
    'tile/0/000/',
    'tile/64/000',
    'tile/00/000',
    'tile/-1/000',
    'tile/0/0',
    'tile/0/x000/001',
    'tile/0/001/234',
    'tile/0/x001',
    'tile/0/x001x234',
    'tile/0/000.p/0',
    'tile/0/000.p/01',
    'tile/0/000.p/256',
    'tile/0/000.p/',
    'tile/entry/000',
    'tile/0/x009/x007/x199/x254/x740/992',
    'tile/0/000\n',
  ]) {
    test(`refused: ${JSON.stringify(path)}`, () => {
      assert.throws(() => parseTilePath(path), { code: 'validation.request' });
    });
  }
});

describe('the tiles of a log', () => {
  for (const { name, vector } of loadVectors('tiles', widthsVector)) {
    test(`published widths: ${name}`, () => {
      const tiles = [...hashTiles(vector.size)];
      vector.full.forEach((full, level) => {
        const ofLevel = tiles.filter((tile) => tile.level === level);
        assert.equal(ofLevel.filter((tile) => tile.width === fullTileWidth).length, full);
        const partial = ofLevel.filter((tile) => tile.width < fullTileWidth);
        assert.deepEqual(
          partial.map((tile) => tile.width),
          vector.partial[level] ? [vector.partial[level]] : [],
        );
      });
      assert.ok(tiles.every((tile) => tile.level < vector.full.length));
    });
  }

  test('an empty log has none, and no tile beyond the end has a width', () => {
    assert.deepEqual([...hashTiles(0)], []);
    assert.equal(tileWidth({ level: 0, index: 1 }, 256), 0);
    assert.equal(tileWidth({ level: 4, index: 1 }, 2 ** 40 + 2 ** 33), 2);
  });

  test('carry every proof: whoever has the tiles needs nothing else', async () => {
    const size = 70_000;
    const tree = treeOf(numberedLeaves(size));
    const bytes = new Map<string, Buffer>();
    for (const tile of hashTiles(size)) {
      bytes.set(`${tile.level}/${tile.index}`, Buffer.concat(await tree.reader.read(tileNodes(tile))));
    }
    const fromTiles = (node: NodeId): Buffer => {
      const { level, index } = placeOf(node).tile;
      return hashFromTile(node, bytes.get(`${level}/${index}`) ?? Buffer.alloc(0));
    };
    const reader: HashReader = { read: (nodes) => Promise.resolve(nodes.map(fromTiles)) };
    const root = rootOf(tree.range);
    for (const index of [0, 255, 256, 65_535, 65_536, 69_887, 69_888, size - 1]) {
      const proof = await inclusionProof(index, size, reader);
      verifyInclusion({ leafHash: numberedLeaf(index), index, size, root, proof });
      assert.deepEqual(await consistencyProof(index, size, reader), await consistencyProof(index, size, tree.reader));
    }
  });

  test('all subtrees of a tile are those of the tree, whether it grew or was read at once', () => {
    const leaves = numberedLeaves(fullTileWidth);
    let grown: readonly Buffer[] = [];
    for (const count of [0, 1, 2, 3, 7, 8, 100, 101, 128, 255, 256]) {
      const tile = Buffer.concat(leaves.slice(0, count));
      grown = subtreesOf(tile, grown);
      assert.deepEqual(grown, subtreesOf(tile));
      for (const [level, row] of grown.entries()) {
        const wide = 2 ** level;
        assert.equal(row.length, 32 * Math.floor(count / wide));
        for (let at = 0; at < row.length / 32; at++) {
          const root = naiveRoot(leaves.slice(at * wide, (at + 1) * wide));
          assert.deepEqual(row.subarray(at * 32, (at + 1) * 32), root);
        }
      }
    }
  });

  test('a tile that is too short for a node is refused', () => {
    assert.throws(() => hashFromTile({ level: 1, index: 3 }, Buffer.alloc(7 * 32)), { code: 'ledger.tampered' });
    assert.equal(hashFromTile({ level: 1, index: 3 }, Buffer.alloc(8 * 32)).length, 32);
  });
});

describe('entry bundles', () => {
  const entries = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: fullTileWidth });

  test('carry entries unchanged', () => {
    fc.assert(
      fc.property(entries, (entries) => {
        const buffers = entries.map((entry) => Buffer.from(entry));
        assert.deepEqual(decodeBundle(encodeBundle(buffers)), buffers);
      }),
    );
  });

  test('a bundle cut anywhere but between entries is refused', () => {
    const bundle = encodeBundle([Buffer.from('ab'), Buffer.alloc(0), leafHash(Buffer.alloc(0))]);
    const between = new Set([0, 4, 6, bundle.length]);
    for (let end = 0; end <= bundle.length; end++) {
      const cut = bundle.subarray(0, end);
      if (between.has(end)) decodeBundle(cut);
      else assert.throws(() => decodeBundle(cut), { code: 'validation.entry' });
    }
  });

  test('the 16-bit length and the width of 256 are limits, not wrap-arounds', () => {
    const longest = Buffer.alloc(65_535, 1);
    assert.deepEqual(decodeBundle(encodeBundle([longest])), [longest]);
    assert.throws(() => encodeBundle([Buffer.alloc(65_536)]), { code: 'validation.entry' });
    assert.throws(() => encodeBundle(Array.from({ length: 257 }, () => longest.subarray(0, 1))), {
      code: 'validation.entry',
    });
    assert.throws(() => decodeBundle(Buffer.alloc(2 * 257)), { code: 'validation.entry' });
  });
});
