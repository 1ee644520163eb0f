import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { inclusionProof, verifyInclusion } from '../../common/proof.ts';
import { InclusionRun } from '../../common/proof-run.ts';
import { naiveRoot, numberedLeaf, numberedLeaves, treeOf } from './trees.ts';

const sizes = Array.from({ length: 70 }, (_, i) => i + 1).concat(127, 128, 129, 255, 256, 257, 300);

async function fixture(size: number) {
  const { reader } = treeOf(numberedLeaves(size));
  const proofs = await Promise.all(
    Array.from({ length: size }, async (_, index) => {
      return (await inclusionProof(index, size, reader)).map((hash) => hash.toString('base64'));
    }),
  );
  return { size, root: naiveRoot(numberedLeaves(size)), proofs };
}

describe('a run of inclusion proofs', () => {
  test('accepts every leaf of every tree, in order, backwards and at random', async () => {
    for (const size of sizes) {
      const { root, proofs } = await fixture(size);
      const run = new InclusionRun({ size, root });
      const there = Array.from({ length: size }, (_, i) => i);
      const jumps = there.map((i) => (i * 37 + 11) % size);
      for (const index of [...there, ...there.slice().reverse(), ...jumps]) {
        run.verify(index, numberedLeaf(index), proofs[index] ?? []);
      }
    }
  });

  test('accepts nothing that a single verification refuses, whatever came before', async () => {
    const trees = await Promise.all([1, 2, 3, 5, 8, 13, 21, 64, 65, 100].map(fixture));
    const step = fc.record({
      at: fc.nat(),
      from: fc.nat(),
      leaf: fc.nat(),
      spoil: fc.option(fc.nat()),
      cut: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.constantFrom(...trees), fc.array(step, { minLength: 1, maxLength: 30 }), (tree, steps) => {
        const { size, root, proofs } = tree;
        const run = new InclusionRun({ size, root });
        for (const { at, from, leaf, spoil, cut } of steps) {
          const index = at % (size + 1);
          // Mostly the right leaf and proof, so that the run gets on and has something to be fooled by.
          const proof = [...(proofs[(from % 3 === 0 ? from : index) % size] ?? [])];
          const leafHash = numberedLeaf(leaf % 3 === 0 ? leaf % size : index);
          if (spoil !== null && proof.length > 0) proof[spoil % proof.length] = numberedLeaf(spoil).toString('base64');
          if (cut) proof.pop();
          const hashes = proof.map((text) => Buffer.from(text, 'base64'));
          assert.equal(
            accepted(() => run.verify(index, leafHash, proof)),
            accepted(() => verifyInclusion({ leafHash, index, size, root, proof: hashes })),
          );
        }
      }),
      { numRuns: 500 },
    );
  });

  test('another spelling of a hash is refused', async () => {
    const { size, root, proofs } = await fixture(4);
    const [first = [], second = []] = proofs;
    const run = new InclusionRun({ size, root });
    run.verify(0, numberedLeaf(0), first);
    for (const proof of [first, second]) {
      for (const at of proof.keys()) {
        const unpadded = proof.with(at, (proof[at] ?? '').replace('=', ''));
        assert.throws(() => run.verify(proof === first ? 0 : 1, numberedLeaf(proof === first ? 0 : 1), unpadded), {
          code: 'ledger.proof',
        });
      }
    }
  });
});

function accepted(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
