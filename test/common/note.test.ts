import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { keyPairFromSeed } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import {
  formatNote,
  formatVerifierKey,
  noteSigner,
  parseNote,
  parseVerifierKey,
  signatureTypes,
  signNote,
  verifierKey,
  verifyNote,
} from '../../common/note.ts';
import { loadVectors } from './load-vectors.ts';

const source = z.string();
const noteVector = z.strictObject({ source, keys: z.array(z.string()), text: z.string(), note: z.string() });
const signingVector = z.strictObject({
  source,
  name: z.string(),
  seed: z.string(),
  verifierKey: z.string(),
  text: z.string(),
  note: z.string(),
});
const keyVector = z.strictObject({ source, key: z.string(), name: z.string(), keyId: z.int(), type: z.int() });
const refusedKeyVector = z.strictObject({ source, key: z.string() });

const pair = keyPairFromSeed(Buffer.alloc(32, 1));
const otherPair = keyPairFromSeed(Buffer.alloc(32, 2));
const signer = noteSigner('log.example/one', signatureTypes.ed25519, pair);
const key = verifierKey('log.example/one', signatureTypes.ed25519, pair.publicKey);
const text = fc.string({ unit: 'grapheme' }).filter((chars) => !/\p{Cc}/u.test(chars) && chars.isWellFormed());
const noteText = fc.array(text).map((lines) => `${lines.join('\n')}\n`);

describe('published notes', () => {
  for (const { name, vector } of loadVectors('note', noteVector)) {
    test(`verified: ${name}`, () => {
      const keys = vector.keys.map(parseVerifierKey);
      const note = parseNote(vector.note);
      assert.equal(note.text, vector.text);
      assert.equal(formatNote(note), vector.note);
      for (const key of keys) assert.deepEqual(verifyNote(note, [key]), [key]);
      if (keys.length > 0) assert.deepEqual(verifyNote(note, keys), keys);
      assert.throws(() => verifyNote(note, [key]), { code: 'auth.signature' });
    });
  }

  for (const { name, vector } of loadVectors('note-signing', signingVector)) {
    test(`signed to the byte: ${name}`, () => {
      const pair = keyPairFromSeed(Buffer.from(vector.seed, 'hex'));
      const key = verifierKey(vector.name, signatureTypes.ed25519, pair.publicKey);
      assert.equal(formatVerifierKey(key), vector.verifierKey);
      const signer = noteSigner(vector.name, signatureTypes.ed25519, pair);
      assert.equal(formatNote(signNote(vector.text, signer)), vector.note);
    });
  }
});

describe('verifier keys', () => {
  for (const { name, vector } of loadVectors('verifier-key', keyVector)) {
    test(`published: ${name}`, () => {
      const key = parseVerifierKey(vector.key);
      assert.deepEqual([key.name, key.keyId, key.type], [vector.name, vector.keyId, vector.type]);
      assert.equal(formatVerifierKey(key), vector.key);
    });
  }

  for (const { name, vector } of loadVectors('verifier-key-refused', refusedKeyVector)) {
    test(`refused: ${name}`, () => {
      assert.throws(() => parseVerifierKey(vector.key), { code: 'auth.signature' });
    });
  }

  test('no part of a key is a key, and no changed key is one', () => {
    const whole = formatVerifierKey(key);
    for (let start = 0; start < whole.length; start++) {
      if (start > 0) assert.throws(() => parseVerifierKey(whole.slice(start)), { code: 'auth.signature' });
      assert.throws(() => parseVerifierKey(whole.slice(0, start)), { code: 'auth.signature' });
      const changed = String.fromCharCode(whole.charCodeAt(start) + 1);
      const other = whole.slice(0, start) + changed + whole.slice(start + 1);
      assert.throws(() => parseVerifierKey(other), { code: 'auth.signature' });
    }
  });

  test('the same key has another key id for every name and signature type', () => {
    const witness = verifierKey('log.example/one', signatureTypes.cosignatureV1, pair.publicKey);
    const renamed = verifierKey('log.example/two', signatureTypes.ed25519, pair.publicKey);
    assert.equal(new Set([key.keyId, witness.keyId, renamed.keyId]).size, 3);
  });

  test('a name with spaces, a plus or nothing in it is refused', () => {
    for (const name of ['', 'a b', 'a+b', 'a\u00a0b', 'a\u0085b', 'a\u2003b', 'a\nb', '\ud800']) {
      assert.throws(() => noteSigner(name, signatureTypes.ed25519, pair), { code: 'auth.signature' });
      assert.throws(() => verifierKey(name, signatureTypes.ed25519, pair.publicKey), { code: 'auth.signature' });
    }
  });
});

describe('signed notes', () => {
  test('any text comes back, with empty lines and dashes in it', () => {
    fc.assert(
      fc.property(noteText, (text) => {
        const note = signNote(text, signer);
        const parsed = parseNote(formatNote(note));
        assert.deepEqual(parsed, note);
        assert.deepEqual(verifyNote(parsed, [key]), [key]);
      }),
    );
  });

  test('no character of a signed note can change unnoticed', () => {
    const whole = formatNote(signNote('log.example/one\n17\n\nroot\n', signer));
    for (let i = 0; i < whole.length; i++) {
      const changed = whole.slice(0, i) + String.fromCharCode(whole.charCodeAt(i) ^ 1) + whole.slice(i + 1);
      assert.throws(() => verifyNote(parseNote(changed), [key]), { name: 'AppError' }, `character ${i}`);
    }
  });

  test('signatures of unknown keys are kept and do not matter', () => {
    const note = signNote('text\n', signer);
    const stranger = signNote('another text\n', noteSigner('stranger', signatureTypes.ed25519, otherPair)).signatures;
    const namesake = signNote('text\n', noteSigner(signer.name, signatureTypes.ed25519, otherPair)).signatures;
    const unknownType = [{ name: 'future', keyId: 1, signature: Buffer.alloc(2_500, 7) }];
    const crowded = { ...note, signatures: [...stranger, ...note.signatures, ...namesake, ...unknownType] };
    const parsed = parseNote(formatNote(crowded));
    assert.deepEqual(parsed, crowded);
    assert.deepEqual(verifyNote(parsed, [key]), [key]);
  });

  test('a wrong signature under a known name and key id condemns the note', () => {
    const note = signNote('text\n', signer);
    const forged = signNote('another text\n', signer).signatures;
    const both = { ...note, signatures: [...note.signatures, ...forged] };
    assert.throws(() => verifyNote(both, [key]), { code: 'auth.signature' });
  });

  test('without trusted keys nothing is verified', () => {
    assert.throws(() => verifyNote(signNote('text\n', signer), []), { code: 'auth.signature' });
  });

  const line = formatNote(signNote('text\n', signer)).split('\n')[2] ?? '';
  for (const [why, note] of [
    ['empty', ''],
    ['no signature', 'text\n'],
    ['no signature after the empty line', 'text\n\n'],
    ['no empty line', `text\n${line}\n`],
    ['no final newline', `text\n\n${line}`],
    ['text between signatures', `text\n\n${line}\nmore\n${line}\n`],
    ['a hyphen for the dash', `text\n\n${line.replace('\u2014', '-')}\n`],
    ['two spaces', `text\n\n${line.replaceAll(' ', '  ')}\n`],
    ['trailing space', `text\n\n${line} \n`],
    ['no name', 'text\n\n\u2014  AAAAAAA=\n'],
    ['signature only a key id', 'text\n\n\u2014 name AAAAAA==\n'],
    ['base64 without padding', `text\n\n${line.replace('=', '')}\n`],
    ['carriage return', `text\r\n\n${line}\n`],
    ['tab', `te\txt\n\n${line}\n`],
    ['lone surrogate', `te\ud800xt\n\n${line}\n`],
    ['too long', `${'x'.repeat(limits.maxNoteChars)}\n\n${line}\n`],
  ] as const) {
    test(`not a note: ${why}`, () => {
      assert.throws(() => parseNote(note), { code: 'ledger.proof' });
    });
  }

  test('a text that could not be read back is not signed', () => {
    for (const text of ['', 'no newline', 'tab\t\n', 'bell\u0007\n', '\udc00\n']) {
      assert.throws(() => signNote(text, signer), { code: 'ledger.proof' });
    }
  });
});
