import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { formatCheckpoint, openCheckpoint } from '../../common/checkpoint.ts';
import {
  cosign,
  cosignatureTime,
  isTimelessCosignature,
  verifyCosignature,
  verifyCosignatures,
  withCosignature,
} from '../../common/cosignature.ts';
import { keyPairFromSeed, signBytes, verifyBytes } from '../../common/keys.ts';
import { emptyRoot } from '../../common/merkle.ts';
import {
  formatNote,
  noteSigner,
  parseNote,
  parseVerifierKey,
  signatureTypes,
  signNote,
  verifierKey,
} from '../../common/note.ts';
import { loadVectors } from './load-vectors.ts';

const cosignedVector = z.strictObject({
  source: z.string(),
  note: z.string(),
  logKey: z.string(),
  witnessKeys: z.array(z.string()),
  origin: z.string(),
  size: z.int(),
  timestampSeconds: z.int(),
});
const timeVector = z.strictObject({ source: z.string(), payload: z.string(), timestampSeconds: z.int().nullable() });

const now = 1_700_000_000_999;
/** The last moment of a Date. */
const maxTimeMs = 8.64e15;
const refused = { code: 'auth.signature' };

function witness(name: string, seed: number) {
  const pair = keyPairFromSeed(Buffer.alloc(32, seed));
  const type = signatureTypes.cosignatureV1;
  return { pair, signer: noteSigner(name, type, pair), key: verifierKey(name, type, pair.publicKey) };
}

const [lyra, node1] = [witness('lyra', 11), witness('node1', 12)];
const log = keyPairFromSeed(Buffer.alloc(32, 10));
const text = formatCheckpoint({ origin: 'ledger.example', size: 9, root: emptyRoot, extensions: ['note'] });
const note = signNote(text, noteSigner('ledger.example', signatureTypes.ed25519, log));

describe('published cosignatures', () => {
  for (const { name, vector } of loadVectors('cosigned-checkpoint', cosignedVector)) {
    test(`verified: ${name}`, () => {
      const opened = openCheckpoint(vector.note, parseVerifierKey(vector.logKey));
      assert.equal(opened.checkpoint.size, vector.size);
      assert.equal(formatNote(opened.note), vector.note);
      const keys = vector.witnessKeys.map(parseVerifierKey);
      const { timestampSeconds } = vector;
      assert.deepEqual(
        verifyCosignatures(opened.note, keys),
        keys.map((key) => ({ key, timestampSeconds })),
      );
      const other = { ...opened.note, text: opened.note.text.replace(String(vector.size), String(vector.size + 1)) };
      for (const key of keys) assert.throws(() => verifyCosignatures(other, [key]), refused);
    });
  }

  for (const { name, vector } of loadVectors('cosignature-time', timeVector)) {
    test(`timestamp: ${name}`, () => {
      const signature = Buffer.from(vector.payload, 'base64').subarray(4);
      if (vector.timestampSeconds === null) assert.throws(() => cosignatureTime(signature), refused);
      else assert.equal(cosignatureTime(signature), vector.timestampSeconds);
    });
  }
});

describe('a cosignature', () => {
  test('signs the header, the time and the whole checkpoint text, and nothing else', () => {
    const { signature } = cosign(text, lyra.signer, now);
    const message = Buffer.from(`cosignature/v1\ntime 1700000000\n${text}`);
    assert.ok(verifyBytes(lyra.pair.publicKey, message, signature.subarray(8)));
  });

  test('survives the note it is carried in, at any time of any clock', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: maxTimeMs }), (unixMs) => {
        const cosigned = withCosignature(note, cosign(text, lyra.signer, unixMs));
        const parsed = parseNote(formatNote(cosigned));
        const timestampSeconds = Math.floor(unixMs / 1_000);
        assert.deepEqual(verifyCosignatures(parsed, [lyra.key]), [{ key: lyra.key, timestampSeconds }]);
      }),
    );
  });

  test('counts once per witness, and only for witnesses that are known', () => {
    const again = cosign(text, lyra.signer, now + 5_000);
    const twice = { ...note, signatures: [...note.signatures, cosign(text, lyra.signer, now), again] };
    assert.deepEqual(verifyCosignatures(twice, [node1.key]), []);
    assert.deepEqual(verifyCosignatures(twice, [lyra.key, node1.key]), [
      { key: lyra.key, timestampSeconds: 1_700_000_005 },
    ]);
    const replaced = withCosignature(withCosignature(note, cosign(text, lyra.signer, now)), again);
    assert.deepEqual(replaced.signatures.slice(1), [again]);
  });

  test('of a time that no Date can show is refused, and known for what it is', () => {
    const last = cosign(text, lyra.signer, maxTimeMs);
    assert.equal(new Date(verifyCosignature(text, last, lyra.key) * 1_000).getTime(), maxTimeMs);
    assert.equal(isTimelessCosignature(text, last, lyra.key), false);
    for (const unixMs of [maxTimeMs + 1_000, 9e15 * 1_000]) {
      const line = cosign(text, lyra.signer, unixMs);
      assert.throws(() => verifyCosignature(text, line, lyra.key), { ...refused, message: /no clock shows/ });
      assert.equal(isTimelessCosignature(text, line, lyra.key), true);
      assert.equal(isTimelessCosignature(text, line, node1.key), false);
      assert.equal(isTimelessCosignature(text.replace('9', '8'), line, lyra.key), false);
    }
  });

  test('with any byte changed is refused', () => {
    const line = cosign(text, lyra.signer, now);
    assert.equal(verifyCosignature(text, line, lyra.key), 1_700_000_000);
    for (let i = 0; i < line.signature.length; i++) {
      const signature = Buffer.from(line.signature);
      signature.writeUInt8(signature.readUInt8(i) ^ 1, i);
      assert.throws(() => verifyCosignature(text, { ...line, signature }, lyra.key), refused);
    }
    assert.throws(() => verifyCosignature(text.replace('9', '8'), line, lyra.key), refused);
    assert.throws(() => verifyCosignature(text, line, node1.key), refused);
    assert.throws(() => verifyCosignature(text, { ...line, signature: line.signature.subarray(1) }, lyra.key), refused);
  });

  test('is never a plain signature of the same key, nor the other way round', () => {
    const plain = signBytes(lyra.pair.privateKey, Buffer.from(text));
    const dressed = Buffer.concat([Buffer.alloc(8), plain]);
    const { name, keyId } = lyra.key;
    assert.throws(() => verifyCosignature(text, { name, keyId, signature: dressed }, lyra.key), refused);
  });
});
