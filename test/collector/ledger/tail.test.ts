import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  continueTail,
  growTail,
  loadTail,
  type Tail,
  type TreeStore,
  tileInTail,
} from '../../../collector/ledger/tail.ts';
import { TileReader } from '../../../collector/ledger/tile-reader.ts';
import { limits } from '../../../common/limits.ts';
import { appendLeaves, type CompactRange, emptyRange, rootOf } from '../../../common/merkle.ts';
import {
  consistencyProof,
  expandProof,
  inclusionProofs,
  verifyConsistency,
  verifyInclusion,
} from '../../../common/proof.ts';
import { hashTiles, type TileId } from '../../../common/tiles.ts';
import { numberedLeaves } from '../../common/trees.ts';

const origin = 'sigilwatch.test/ledger';
const leaves = numberedLeaves(65_536 + 300);
const emptyTail: Tail = { head: { origin, range: emptyRange }, partial: [] };
/** Around every place where a tile, and a tile of tiles, fills. */
const boundaries = [
  0, 1, 2, 255, 256, 257, 511, 512, 513, 1_000, 65_279, 65_280, 65_535, 65_536, 65_537, 65_792, 65_836,
];

/** A store of tiles and leaf hashes alone, and what it was asked for. */
class TestTrees implements TreeStore {
  readonly kept = new Map<string, Buffer>();
  asked: TileId[] = [];
  size = 0;

  grow(tail: Tail, to: number): Tail {
    const grown = growTail(tail, leaves.slice(tail.head.range.size, to));
    for (const { level, index, hashes } of grown.tiles) this.kept.set(`${level}/${index}`, hashes);
    this.size = to;
    return grown.tail;
  }

  async leafHashes(from: number, to: number): Promise<Buffer> {
    return Buffer.concat(leaves.slice(from, Math.min(to, this.size)));
  }

  async tiles(refs: readonly TileId[]): Promise<(Buffer | undefined)[]> {
    this.asked.push(...refs);
    return refs.map(({ level, index }) => this.kept.get(`${level}/${index}`));
  }
}

/** The tree at every boundary, from the leaves alone. */
const ranges = new Map<number, CompactRange>([[0, emptyRange]]);
boundaries.reduce((from, to) => {
  ranges.set(to, appendLeaves(ranges.get(from) ?? emptyRange, leaves.slice(from, to)));
  return to;
});

/** The tails of one growing log at every boundary, checked by `check` while the store is exactly that far. */
async function atEveryBoundary(check: (trees: TestTrees, tail: Tail) => Promise<void>): Promise<void> {
  const trees = new TestTrees();
  let tail = emptyTail;
  for (const size of boundaries) {
    tail = trees.grow(tail, size);
    await check(trees, tail);
  }
}

describe('the tail of the log', () => {
  test('has the root of the leaves, whatever the steps it grew in', async () => {
    await atEveryBoundary(async (_trees, tail) => {
      const { size } = tail.head.range;
      assert.deepEqual(tail.head.range, ranges.get(size));
      if (size < 1_000) assert.deepEqual(growTail(emptyTail, leaves.slice(0, size)).tail, tail);
    });
  });

  test('read back from the store is the one that was grown', async () => {
    await atEveryBoundary(async (trees, tail) => {
      const loaded = await loadTail(trees, tail.head);
      const filled = (partial: Tail['partial']) => partial.map((hashes) => Buffer.concat(hashes).toString('hex'));
      assert.deepEqual(filled(loaded.partial), filled(tail.partial));
      const next = numberedLeaves(600, 1_000_000);
      assert.deepEqual(growTail(loaded, next), growTail(tail, next));
    });
  });

  test('continued over what somebody else appended is the one that was read back anew', async () => {
    await atEveryBoundary(async (trees, tail) => {
      const later = trees.grow(tail, tail.head.range.size + 300);
      assert.deepEqual(await continueTail(trees, tail, later.head), later);
    });
  });

  test('is not continued into a history that it is no part of, a shorter one, or over what is not there', async () => {
    const trees = new TestTrees();
    const tail = trees.grow(emptyTail, 257);
    const { head } = trees.grow(tail, 300);
    const other = growTail(emptyTail, numberedLeaves(257, 1_000_000)).tail;
    assert.equal(await continueTail(trees, other, head), undefined);
    assert.equal(await continueTail(trees, tail, { ...head, range: emptyRange }), undefined);
    assert.equal(await continueTail(trees, tail, { ...head, origin: 'another.log' }), undefined);
    trees.size = 299;
    assert.equal(await continueTail(trees, tail, head), undefined);
  });

  test('is refused when tiles or leaf hashes do not lead to its root', async () => {
    const trees = new TestTrees();
    const { head } = trees.grow(emptyTail, 600);
    const tampered = { code: 'ledger.tampered' };
    const kept = trees.kept.get('0/1') ?? Buffer.alloc(0);
    const changed = Buffer.from(kept);
    changed.writeUInt8(changed.readUInt8(100) ^ 1, 100);
    trees.kept.set('0/1', changed);
    await assert.rejects(loadTail(trees, head), tampered);
    trees.kept.delete('0/1');
    await assert.rejects(loadTail(trees, head), tampered);
    trees.kept.set('0/1', kept);
    trees.size = 599;
    await assert.rejects(loadTail(trees, head), tampered);
    trees.size = 600;
    await loadTail(trees, head);
  });

  test('its partial tiles are the beginnings of the full ones', async () => {
    const full = new TestTrees();
    const end = full.grow(emptyTail, leaves.length);
    await atEveryBoundary(async (trees, tail) => {
      for (const { level, index, width } of hashTiles(tail.head.range.size)) {
        const tile = await new TileReader(trees).tile(tail, { level, index });
        const later = await new TileReader(full).tile(end, { level, index });
        assert.equal(tile.length, width * 32);
        assert.deepEqual(tile, later.subarray(0, tile.length));
      }
    });
  });
});

describe('hashes read from tiles', () => {
  test('prove inclusion and consistency at every boundary', async () => {
    await atEveryBoundary(async (trees, tail) => {
      const { size } = tail.head.range;
      const root = rootOf(tail.head.range);
      const reader = new TileReader(trees).at(tail);
      const indexes = [0, 1, 254, 255, 256, 257, 65_535, 65_536, size - 1].filter((i) => i >= 0 && i < size);
      const shared = await inclusionProofs(indexes, size, reader);
      for (const [which, index] of indexes.entries()) {
        const [leafHash] = leaves.slice(index, index + 1);
        assert.ok(leafHash);
        verifyInclusion({ leafHash, index, size, root, proof: expandProof(shared, which) });
      }
      for (const [oldSize, oldRange] of ranges) {
        if (oldSize > size) continue;
        const oldRoot = rootOf(oldRange);
        const proof = await consistencyProof(oldSize, size, reader);
        verifyConsistency({ oldSize, oldRoot, newSize: size, newRoot: root, proof });
      }
    });
  });

  test('come from the tail for what still grows, and each full tile is read once', async () => {
    const trees = new TestTrees();
    const tail = trees.grow(emptyTail, 700);
    const tiles = new TileReader(trees);
    assert.deepEqual(await tiles.tile(tail, { level: 0, index: 2 }), tileInTail(tail, { level: 0, index: 2 }));
    assert.deepEqual(trees.asked, []);
    for (let i = 0; i < 3; i++) await inclusionProofs([0, 1, 300, 699], 700, tiles.at(tail));
    assert.deepEqual(trees.asked.map(({ level, index }) => `${level}/${index}`).sort(), ['0/0', '0/1']);
  });

  test('are read from the store only once while there is room to keep them', async () => {
    const trees = new TestTrees();
    const tail = trees.grow(emptyTail, leaves.length);
    const tiles = new TileReader(trees);
    const wanted = Array.from({ length: 250 }, (_, index) => ({ level: 0, index }));
    assert.ok(wanted.length < limits.tileCacheTiles);
    for (let i = 0; i < 3; i++) for (const ref of wanted) await tiles.tile(tail, ref);
    assert.equal(trees.asked.length, wanted.length);
  });

  test('that the store no longer has are an error, not another hash', async () => {
    const trees = new TestTrees();
    const tail = trees.grow(emptyTail, 700);
    trees.kept.delete('0/1');
    await assert.rejects(inclusionProofs([300], 700, new TileReader(trees).at(tail)), { code: 'ledger.tampered' });
  });
});
