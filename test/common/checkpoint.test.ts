import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { formatCheckpoint, openCheckpoint, parseCheckpoint, signCheckpoint } from '../../common/checkpoint.ts';
import { keyPairFromSeed } from '../../common/keys.ts';
import { emptyRoot } from '../../common/merkle.ts';
import { formatNote, noteSigner, parseNote, signatureTypes, signNote, verifierKey } from '../../common/note.ts';
import { loadVectors } from './load-vectors.ts';

const checkpointVector = z.strictObject({
  source: z.string(),
  note: z.string(),
  origin: z.string(),
  size: z.int(),
  root: z.string(),
});

const pair = keyPairFromSeed(Buffer.alloc(32, 3));
const origin = 'collector.example/ledger';
const signer = noteSigner(origin, signatureTypes.ed25519, pair);
const logKey = verifierKey(origin, signatureTypes.ed25519, pair.publicKey);
const head = { origin, size: 5, root: emptyRoot, extensions: [] };

const line = fc.stringMatching(/^[!-~]{1,20}$/);
const checkpoint = fc.record(
  {
    origin: line,
    size: fc.oneof(fc.nat(), fc.maxSafeNat()),
    root: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
    extensions: fc.array(line, { maxLength: 3 }),
  },
  { noNullPrototype: true },
);

for (const { name, vector } of loadVectors('checkpoint', checkpointVector)) {
  test(`published checkpoint: ${name}`, () => {
    const { text } = parseNote(vector.note);
    const { origin, size, root } = vector;
    const checkpoint = { origin, size, root: Buffer.from(root, 'hex'), extensions: [] };
    assert.deepEqual(parseCheckpoint(text), checkpoint);
    assert.equal(formatCheckpoint(checkpoint), text);
  });
}

describe('a checkpoint', () => {
  test('comes back from its text', () => {
    fc.assert(fc.property(checkpoint, (head) => assert.deepEqual(parseCheckpoint(formatCheckpoint(head)), head)));
  });

  test('signed by the log opens under the key of the log', () => {
    const opened = openCheckpoint(signCheckpoint(head, signer), logKey);
    assert.deepEqual(opened.checkpoint, head);
    assert.equal(opened.note.signatures.length, 1);
  });

  test('of one log is never vouched for by the key of another, signed or opened', () => {
    const elsewhere = { ...head, origin: 'elsewhere.example/ledger' };
    assert.throws(() => signCheckpoint(elsewhere, signer), { code: 'auth.signature' });
    const forged = formatNote(signNote(formatCheckpoint(elsewhere), signer));
    assert.throws(() => openCheckpoint(forged, logKey), { code: 'auth.signature' });
    const impostor = noteSigner(origin, signatureTypes.ed25519, keyPairFromSeed(Buffer.alloc(32, 4)));
    assert.throws(() => openCheckpoint(signCheckpoint(head, impostor), logKey), { code: 'auth.signature' });
  });

  test('that could not be read back is not signed', () => {
    for (const bad of [
      { ...head, size: -1 },
      { ...head, root: Buffer.alloc(31) },
      { ...head, extensions: [''] },
    ]) {
      assert.throws(() => signCheckpoint(bad, signer), { code: 'ledger.proof' });
    }
  });

  const root = emptyRoot.toString('base64');
  for (const [why, text] of [
    ['empty', ''],
    ['two lines', 'log\n5\n'],
    ['no origin', `\n5\n${root}\n`],
    ['no final newline', `log\n5\n${root}`],
    ['leading zero', `log\n05\n${root}\n`],
    ['negative size', `log\n-5\n${root}\n`],
    ['hexadecimal size', `log\n0x5\n${root}\n`],
    ['size past 2^53', `log\n9007199254740993\n${root}\n`],
    ['short root', `log\n5\n${Buffer.alloc(31).toString('base64')}\n`],
    ['root with stray bits', `log\n5\n${root.replace('U=', 'V=')}\n`],
    ['root in hex', `log\n5\n${emptyRoot.toString('hex')}\n`],
    ['empty extension line', `log\n5\n${root}\n\n`],
    ['carriage returns', `log\r\n5\r\n${root}\r\n`],
  ] as const) {
    test(`refused: ${why}`, () => {
      assert.throws(() => parseCheckpoint(text), { code: 'ledger.proof' });
    });
  }
});
