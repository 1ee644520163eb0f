import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { signCheckpoint } from '../../common/checkpoint.ts';
import { keyPairFromSeed } from '../../common/keys.ts';
import { rootOf } from '../../common/merkle.ts';
import { noteSigner, signatureTypes, verifierKey } from '../../common/note.ts';
import { inclusionProof } from '../../common/proof.ts';
import { formatTlogProof, parseTlogProof, type TlogProof, verifyTlogProof } from '../../common/tlog-proof.ts';
import { loadVectors } from './load-vectors.ts';
import { numberedLeaf, numberedLeaves, treeOf } from './trees.ts';

const hex = z.string().transform((text) => Buffer.from(text, 'hex'));
const proofVector = z.strictObject({
  source: z.string(),
  text: z.string(),
  index: z.int(),
  hashes: z.array(hex),
  checkpoint: z.string(),
  extra: hex.nullable(),
});
const refusedVector = z.strictObject({ source: z.string(), text: z.string() });

const origin = 'ledger.example';
const pair = keyPairFromSeed(Buffer.alloc(32, 5));
const logKey = verifierKey(origin, signatureTypes.ed25519, pair.publicKey);
const tree = treeOf(numberedLeaves(150));
const checkpoint = signCheckpoint(
  { origin, size: 150, root: rootOf(tree.range), extensions: [] },
  noteSigner(origin, signatureTypes.ed25519, pair),
);

async function proofOf(index: number): Promise<TlogProof> {
  return { index, hashes: await inclusionProof(index, 150, tree.reader), checkpoint };
}

describe('published proof files', () => {
  for (const { name, vector } of loadVectors('tlog-proof', proofVector)) {
    test(`read and written: ${name}`, () => {
      const { index, hashes, checkpoint, extra } = vector;
      const proof = { index, hashes, checkpoint, ...(extra === null ? {} : { extra }) };
      assert.deepEqual(parseTlogProof(vector.text), proof);
      assert.equal(formatTlogProof(proof), vector.text);
    });
  }

  for (const { name, vector } of loadVectors('tlog-proof-refused', refusedVector)) {
    test(`refused: ${name}`, () => {
      assert.throws(() => parseTlogProof(vector.text), { code: 'ledger.proof' });
    });
  }
});

describe('a proof file', () => {
  test('proves its entry to whoever has the key of the log, and no other entry', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(149), fc.option(fc.uint8Array()), async (index, bytes) => {
        const proof = await proofOf(index);
        const file = formatTlogProof(bytes === null ? proof : { ...proof, extra: Buffer.from(bytes) });
        const parsed = parseTlogProof(file);
        assert.equal(verifyTlogProof(parsed, numberedLeaf(index), logKey).checkpoint.size, 150);
        assert.equal(formatTlogProof(parsed), file);
        assert.throws(() => verifyTlogProof(parsed, numberedLeaf(150), logKey), { code: 'ledger.proof' });
      }),
    );
  });

  test('no character of it can change unnoticed', async () => {
    const file = formatTlogProof(await proofOf(77));
    for (let i = 0; i < file.length; i++) {
      const changed = file.slice(0, i) + String.fromCharCode(file.charCodeAt(i) ^ 1) + file.slice(i + 1);
      assert.throws(() => verifyTlogProof(parseTlogProof(changed), numberedLeaf(77), logKey), { name: 'AppError' });
    }
  });

  test('is worth nothing under the key of another log', async () => {
    const other = verifierKey(origin, signatureTypes.ed25519, keyPairFromSeed(Buffer.alloc(32, 6)).publicKey);
    assert.throws(() => verifyTlogProof({ index: 0, hashes: [], checkpoint }, numberedLeaf(0), other), {
      code: 'auth.signature',
    });
  });
});
