import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { appendLeaves, emptyRange, emptyRoot, leafHash, rootOf } from '../../common/merkle.ts';
import {
  type ConsistencyClaim,
  consistencyProof,
  expandProof,
  type InclusionClaim,
  inclusionProof,
  inclusionProofs,
  verifyConsistency,
  verifyInclusion,
} from '../../common/proof.ts';
import { loadVectors } from './load-vectors.ts';
import { counting, grow, naiveRoot, numberedLeaf, numberedLeaves, treeOf, uniformTree } from './trees.ts';

const hashes = z.array(z.string().transform((text) => Buffer.from(text, 'hex')));
const treeVector = z.object({ leaves: hashes, roots: hashes });
const inclusionVector = z.strictObject({ source: z.string(), index: z.int(), size: z.int(), proof: hashes });
const consistencyVector = z.strictObject({ source: z.string(), oldSize: z.int(), newSize: z.int(), proof: hashes });

const refused = { name: 'AppError', code: 'ledger.proof' };
const tree = treeOf(numberedLeaves(300));
const rootAt = (size: number): Buffer => naiveRoot(numberedLeaves(size));

async function inclusionClaim(index: number, size: number): Promise<InclusionClaim> {
  const proof = await inclusionProof(index, size, tree.reader);
  return { leafHash: numberedLeaf(index), index, size, root: rootAt(size), proof };
}

async function consistencyClaim(oldSize: number, newSize: number): Promise<ConsistencyClaim> {
  const proof = await consistencyProof(oldSize, newSize, tree.reader);
  return { oldSize, oldRoot: rootAt(oldSize), newSize, newRoot: rootAt(newSize), proof };
}

/** Index and size of a leaf in a tree of up to 300. */
const leafOfTree = fc.integer({ min: 1, max: 300 }).chain((size) => fc.tuple(fc.nat(size - 1), fc.constant(size)));
const growth = fc.nat(300).chain((newSize) => fc.tuple(fc.nat(newSize), fc.constant(newSize)));

/** `proof` with one bit of one hash flipped, and with a hash added, dropped or swapped. */
function damaged(proof: readonly Buffer[]): Buffer[][] {
  const variants = [[...proof, emptyRoot], [emptyRoot, ...proof], proof.slice(1), proof.slice(0, -1)];
  proof.forEach((hash, i) => {
    const flipped = Buffer.from(hash);
    flipped.writeUInt8(flipped.readUInt8(i) ^ 1, i);
    variants.push(proof.with(i, flipped), proof.with(i, hash.subarray(1)));
  });
  if (proof.length > 1) variants.push([...proof].reverse());
  return variants.filter((variant) => !sameHashes(variant, proof));
}

function sameHashes(a: readonly Buffer[], b: readonly Buffer[]): boolean {
  return a.length === b.length && a.every((hash, i) => b[i]?.equals(hash));
}

describe('published proofs of the eight-leaf tree', () => {
  const [vector] = loadVectors('merkle', treeVector).map((loaded) => loaded.vector);
  const leaves = (vector?.leaves ?? []).map((leaf) => leafHash(leaf));
  const eight = treeOf(leaves);
  const root = (size: number): Buffer => vector?.roots[size - 1] ?? emptyRoot;

  for (const { name, vector } of loadVectors('inclusion', inclusionVector)) {
    test(`inclusion: ${name}`, async () => {
      const { index, size, proof } = vector;
      assert.deepEqual(await inclusionProof(index, size, eight.reader), proof);
      verifyInclusion({ leafHash: leaves[index] ?? emptyRoot, index, size, root: root(size), proof });
    });
  }

  for (const { name, vector } of loadVectors('consistency', consistencyVector)) {
    test(`consistency: ${name}`, async () => {
      const { oldSize, newSize, proof } = vector;
      assert.deepEqual(await consistencyProof(oldSize, newSize, eight.reader), proof);
      verifyConsistency({ oldSize, oldRoot: root(oldSize), newSize, newRoot: root(newSize), proof });
    });
  }
});

describe('inclusion proofs', () => {
  test('every leaf of every tree up to 64 leaves has a proof that verifies', async () => {
    for (let size = 1; size <= 64; size++) {
      for (let index = 0; index < size; index++) verifyInclusion(await inclusionClaim(index, size));
    }
  });

  test('a proof with any hash, leaf, root, index or size changed is refused', async () => {
    await fc.assert(
      fc.asyncProperty(leafOfTree, fc.nat(400), fc.nat(400), async ([index, size], otherIndex, otherSize) => {
        const claim = await inclusionClaim(index, size);
        verifyInclusion(claim);
        const lies: InclusionClaim[] = [
          ...damaged(claim.proof).map((proof) => ({ ...claim, proof })),
          { ...claim, leafHash: numberedLeaf(size) },
          { ...claim, root: rootAt(size + 1) },
          ...(otherIndex === index ? [] : [{ ...claim, index: otherIndex }]),
        ];
        for (const lie of lies) assert.throws(() => verifyInclusion(lie), refused);
        // The same path can be right for a tree of another size, but never with another root.
        assert.throws(() => verifyInclusion({ ...claim, size: otherSize, root: rootAt(size + 1) }), refused);
      }),
      { numRuns: 60 },
    );
  });

  test('an index or size that is no safe integer, or no leaf of the tree, is refused on both sides', async () => {
    const claim = await inclusionClaim(3, 7);
    for (const [index, size] of [
      [7, 7],
      [-1, 7],
      [0.5, 7],
      [Number.NaN, 7],
      [0, 0],
      [3, 2 ** 53],
      [3, Number.POSITIVE_INFINITY],
    ] as const) {
      assert.throws(() => verifyInclusion({ ...claim, index, size }), refused);
      await assert.rejects(inclusionProof(index, size, tree.reader), refused);
    }
  });

  test('a hash reader that answers too little or garbage is not believed', async () => {
    await assert.rejects(inclusionProof(3, 7, { read: () => Promise.resolve([]) }), refused);
    const short = { read: (nodes: readonly unknown[]) => Promise.resolve(nodes.map(() => Buffer.alloc(31))) };
    await assert.rejects(inclusionProof(3, 7, short), refused);
  });
});

describe('consistency proofs', () => {
  test('every tree up to 40 leaves provably extends every smaller one', async () => {
    for (let newSize = 0; newSize <= 40; newSize++) {
      for (let oldSize = 0; oldSize <= newSize; oldSize++) verifyConsistency(await consistencyClaim(oldSize, newSize));
    }
  });

  test('a proof with any hash, root or size changed is refused', async () => {
    await fc.assert(
      fc.asyncProperty(growth, fc.nat(400), async ([oldSize, newSize], otherSize) => {
        const claim = await consistencyClaim(oldSize, newSize);
        verifyConsistency(claim);
        const lies: ConsistencyClaim[] = [
          ...damaged(claim.proof).map((proof) => ({ ...claim, proof })),
          { ...claim, oldRoot: rootAt(oldSize + 1) },
          ...(oldSize === 0 ? [] : [{ ...claim, newRoot: rootAt(newSize + 1) }]),
          ...(otherSize === oldSize ? [] : [{ ...claim, oldSize: otherSize }]),
        ];
        for (const lie of lies) assert.throws(() => verifyConsistency(lie), refused);
      }),
      { numRuns: 60 },
    );
  });

  test('a tree never extends a larger one, and equal sizes have equal roots', async () => {
    const claim = await consistencyClaim(7, 7);
    assert.throws(() => verifyConsistency({ ...claim, newRoot: rootAt(8) }), refused);
    assert.throws(() => verifyConsistency({ ...claim, oldSize: 8, oldRoot: rootAt(8) }), refused);
    await assert.rejects(consistencyProof(8, 7, tree.reader), refused);
    await assert.rejects(consistencyProof(-1, 7, tree.reader), refused);
  });

  test('a rewritten history has no proof', async () => {
    const forked = treeOf(numberedLeaves(50).with(20, numberedLeaf(999)));
    const proof = await consistencyProof(30, 50, forked.reader);
    const claim = { oldSize: 30, oldRoot: rootAt(30), newSize: 50, newRoot: rootOf(forked.range), proof };
    assert.throws(() => verifyConsistency(claim), refused);
  });
});

describe('proofs of huge trees', () => {
  for (const base of [2 ** 31 - 2, 2 ** 33 + 5, 2 ** 40 - 1, 2 ** 52]) {
    test(`${base} leaves and a few more`, async () => {
      const before = uniformTree(base);
      const after = grow(before, numberedLeaves(21, base));
      const { size } = after.range;
      const root = rootOf(after.range);
      for (const index of [0, 12345, base - 1, base, base + 7, size - 1]) {
        const leaf = index < base ? numberedLeaf(0) : numberedLeaf(index);
        const proof = await inclusionProof(index, size, after.reader);
        verifyInclusion({ leafHash: leaf, index, size, root, proof });
        assert.throws(() => verifyInclusion({ leafHash: numberedLeaf(7), index, size, root, proof }), refused);
      }
      for (const oldSize of [0, 1, 2 ** 20, base - 1, base, size]) {
        const proof = await consistencyProof(oldSize, size, after.reader);
        const oldRoot = rootOf(oldSize <= base ? uniformTree(oldSize).range : after.range);
        verifyConsistency({ oldSize, oldRoot, newSize: size, newRoot: root, proof });
      }
    });
  }
});

describe('shared proofs', () => {
  test('expand to the very proofs that one leaf alone would get, in one read', async () => {
    const picks = fc
      .integer({ min: 1, max: 300 })
      .chain((size) => fc.tuple(fc.array(fc.nat(size - 1)), fc.constant(size)));
    await fc.assert(
      fc.asyncProperty(picks, async ([indexes, size]) => {
        const reader = counting(tree.reader);
        const shared = await inclusionProofs(indexes, size, reader);
        assert.ok(reader.calls <= 1);
        for (const [which, index] of indexes.entries()) {
          assert.deepEqual(expandProof(shared, which), await inclusionProof(index, size, tree.reader));
        }
      }),
      { numRuns: 40 },
    );
  });

  test('200 consecutive entries of a huge log cost two hashes each, not forty', async () => {
    const base = 2 ** 40 + 77;
    const log = grow(uniformTree(base), numberedLeaves(200, base));
    const reader = counting(log.reader);
    const indexes = Array.from({ length: 200 }, (_, i) => base + i);
    const shared = await inclusionProofs(indexes, log.range.size, reader);
    assert.ok(shared.hashes.length <= 2 * 200 + 2 * 41, `${shared.hashes.length} hashes`);
    assert.ok(reader.nodes <= 2 * 200 + 2 * 41, `${reader.nodes} nodes read`);
    const root = rootOf(log.range);
    for (const [which, index] of indexes.entries()) {
      const proof = expandProof(shared, which);
      verifyInclusion({ leafHash: numberedLeaf(index), index, size: log.range.size, root, proof });
    }
  });

  test('positions that a peer made up are refused', () => {
    const [hash] = appendLeaves(emptyRange, numberedLeaves(1)).hashes;
    const shared = { hashes: hash === undefined ? [] : [hash], proofs: [[0], [1], [-1], [0.5]] };
    assert.equal(expandProof(shared, 0).length, 1);
    for (const which of [1, 2, 3, 4, -1]) assert.throws(() => expandProof(shared, which), refused);
  });
});
