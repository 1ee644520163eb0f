import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import {
  appendLeaves,
  coveringNodes,
  decodeRange,
  emptyRange,
  emptyRoot,
  encodeRange,
  hashLeaf,
  largestPowerOfTwo,
  leafHash,
  leafInputs,
  nodeHash,
  rootOf,
} from '../../common/merkle.ts';
import { loadVectors } from './load-vectors.ts';
import { naiveRoot, numberedLeaf, numberedLeaves, uniformTree } from './trees.ts';

const treeVector = z.strictObject({
  source: z.string(),
  leaves: z.array(z.string()),
  emptyRoot: z.string(),
  roots: z.array(z.string()),
});

describe('the tree hash is that of RFC 6962', () => {
  for (const { name, vector } of loadVectors('merkle', treeVector)) {
    test(`published roots: ${name}`, () => {
      assert.equal(rootOf(emptyRange).toString('hex'), vector.emptyRoot);
      const hashes = vector.leaves.map((leaf) => leafHash(Buffer.from(leaf, 'hex')));
      vector.roots.forEach((root, i) => {
        assert.equal(rootOf(appendLeaves(emptyRange, hashes.slice(0, i + 1))).toString('hex'), root);
      });
    });
  }

  test('a leaf given in parts hashes as the parts joined', () => {
    const parts = [Buffer.from('one'), Buffer.alloc(0), Buffer.from('two')];
    assert.deepEqual(leafHash(...parts), leafHash(Buffer.concat(parts)));
    assert.notDeepEqual(leafHash(numberedLeaf(1), numberedLeaf(2)), nodeHash(numberedLeaf(1), numberedLeaf(2)));
  });

  test('leaves written one behind the other hash as each by itself', () => {
    const leaves = [[Buffer.from('one'), Buffer.from('two')], [], [Buffer.from('three')]];
    const inputs = leafInputs(leaves);
    assert.deepEqual(
      inputs.map(hashLeaf),
      leaves.map((parts) => leafHash(...parts)),
    );
    assert.deepEqual(Buffer.concat(inputs), Buffer.from('\0onetwo\0\0three'));
  });
});

describe('a compact range', () => {
  test('has the root of the recursive definition at every size from 0 to 300', () => {
    const leaves = numberedLeaves(300);
    let range = emptyRange;
    for (let size = 0; size <= leaves.length; size++) {
      assert.deepEqual(rootOf(range), naiveRoot(leaves.slice(0, size)));
      assert.equal(range.size, size);
      range = appendLeaves(range, leaves.slice(size, size + 1));
    }
  });

  test('is the same however its leaves arrive, and appending leaves the old range as it was', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 10 }), (batches) => {
        let range = emptyRange;
        for (const batch of batches) {
          const before = encodeRange(range);
          const next = appendLeaves(range, numberedLeaves(batch, range.size));
          assert.deepEqual(encodeRange(range), before);
          range = next;
        }
        assert.deepEqual(range, appendLeaves(emptyRange, numberedLeaves(range.size)));
      }),
    );
  });

  test('tells of every subtree it completes, once, with its hash', () => {
    const leaves = numberedLeaves(77);
    const seen = new Map<string, Buffer>();
    appendLeaves(emptyRange, leaves, ({ level, index }, hash) => {
      assert.ok(!seen.has(`${level}/${index}`));
      seen.set(`${level}/${index}`, hash);
      assert.deepEqual(hash, naiveRoot(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level)));
    });
    assert.equal(seen.size, 77 + 38 + 19 + 9 + 4 + 2 + 1);
  });

  test('comes back from its bytes, at small and at huge sizes', () => {
    const size = fc.oneof(fc.nat(1_000), fc.maxSafeNat());
    fc.assert(
      fc.property(size, (leaves) => {
        const { range } = uniformTree(leaves);
        const decoded = decodeRange(leaves, encodeRange(range));
        assert.deepEqual(decoded, range);
        assert.deepEqual(rootOf(decoded), rootOf(range));
      }),
    );
  });

  test('refuses bytes that do not belong to its size', () => {
    const bytes = encodeRange(appendLeaves(emptyRange, numberedLeaves(7)));
    for (const size of [0, 3, 8, 15, -1, 7.5, Number.NaN, 2 ** 53]) {
      assert.throws(() => decodeRange(size, bytes), { code: 'ledger.tampered' });
    }
    assert.throws(() => decodeRange(7, bytes.subarray(1)), { code: 'ledger.tampered' });
  });

  test('counts on past 2^40 without losing a bit', () => {
    for (const base of [2 ** 31, 2 ** 32, 2 ** 40, 2 ** 52]) {
      const { range } = uniformTree(base - 3);
      const grown = appendLeaves(
        range,
        Array.from({ length: 3 }, () => numberedLeaf(0)),
      );
      assert.deepEqual(grown, uniformTree(base).range);
      assert.equal(grown.hashes.length, 1);
    }
  });
});

test('covering nodes are complete subtrees, adjacent, aligned and as few as the set bits of the size', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (size) => {
      let at = 0;
      const nodes = coveringNodes(0, size);
      for (const { level, index } of nodes) {
        assert.equal(index * 2 ** level, at);
        at += 2 ** level;
      }
      assert.equal(at, size);
      assert.equal(nodes.length, size.toString(2).replaceAll('0', '').length);
    }),
  );
});

test('the largest power of two is exact over the whole range of sizes', () => {
  for (let bit = 0; bit < 53; bit++) {
    assert.equal(largestPowerOfTwo(2 ** bit), 2 ** bit);
    assert.equal(largestPowerOfTwo(2 ** (bit + 1) - 1), 2 ** bit);
    assert.equal(coveringNodes(0, 2 ** bit)[0]?.level, bit);
  }
});

test('the empty tree has the root of nothing', () => {
  assert.equal(emptyRoot.toString('hex'), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
});
