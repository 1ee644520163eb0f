import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { z } from 'zod';
import {
  generateKeyPair,
  keyPairFromSeed,
  publicKeyFromRaw,
  rawPublicKey,
  signBytes,
  verifyBytes,
  verifyBytesAsync,
} from '../../common/keys.ts';
import { loadVectors } from './load-vectors.ts';

const hex = z.string().transform((text) => Buffer.from(text, 'hex'));
const ed25519Vector = z.strictObject({ source: z.string(), seed: hex, publicKey: hex, message: hex, signature: hex });

describe('signatures are those of RFC 8032', () => {
  for (const { name, vector } of loadVectors('ed25519', ed25519Vector)) {
    test(`published: ${name}`, async () => {
      const { seed, publicKey, message, signature } = vector;
      const pair = keyPairFromSeed(seed);
      assert.deepEqual(rawPublicKey(pair.publicKey), publicKey);
      assert.deepEqual(signBytes(pair.privateKey, message), signature);
      const key = publicKeyFromRaw(publicKey);
      assert.ok(verifyBytes(key, message, signature));
      assert.ok(await verifyBytesAsync(key, message, signature));
      const forged = Buffer.from(signature);
      forged.writeUInt8(forged.readUInt8(3) ^ 1, 3);
      assert.ok(!verifyBytes(key, message, forged));
      assert.ok(!(await verifyBytesAsync(key, Buffer.concat([message, Buffer.of(0)]), signature)));
    });
  }
});

test('a fresh key signs for itself only, and a signature of another length is false, not an error', async () => {
  const [mine, other] = [generateKeyPair(), generateKeyPair()];
  const message = Buffer.from('message');
  const signature = signBytes(mine.privateKey, message);
  assert.ok(verifyBytes(mine.publicKey, message, signature));
  assert.ok(!verifyBytes(other.publicKey, message, signature));
  for (const length of [0, 63]) {
    assert.ok(!verifyBytes(mine.publicKey, message, signature.subarray(0, length)));
    assert.ok(!(await verifyBytesAsync(mine.publicKey, message, signature.subarray(0, length))));
  }
});

test('a public key of another length is refused', () => {
  assert.throws(() => publicKeyFromRaw(Buffer.alloc(31)), { code: 'auth.signature' });
});
