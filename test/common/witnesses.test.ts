import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cosign, verifyCosignature } from '../../common/cosignature.ts';
import { AppError } from '../../common/errors.ts';
import { generateKeyPair } from '../../common/keys.ts';
import { parseManifest } from '../../common/manifest/manifest.ts';
import { formatVerifierKey, signatureTypes, verifierKey } from '../../common/note.ts';
import { defaultWitnesses, nodeWitnessKey, nodeWitnessSigner, quorumSize } from '../../common/witnesses.ts';

const origin = 'test.example/ledger';
const vkey = (name: string, type: 1 | 4 = 4, keys = generateKeyPair()): string =>
  formatVerifierKey(
    verifierKey(name, type === 4 ? signatureTypes.cosignatureV1 : signatureTypes.ed25519, keys.publicKey),
  );

test("node and collector mean the same key, which is no other node's and no other log's", () => {
  const keys = generateKeyPair();
  const line = cosign('a\n1\nb\n', nodeWitnessSigner(origin, 'node1', keys), 5_000);
  assert.equal(verifyCosignature('a\n1\nb\n', line, nodeWitnessKey(origin, 'node1', keys.publicKey)), 5);
  for (const other of [nodeWitnessKey(origin, 'node2', keys.publicKey), nodeWitnessKey('x', 'node1', keys.publicKey)]) {
    assert.throws(() => verifyCosignature('a\n1\nb\n', line, other));
  }
});

test('a quorum is more than half unless told otherwise, and never more than there are', () => {
  const sizes = [0, 1, 2, 3, 4, 5].map((count) => quorumSize('majority', count));
  assert.deepEqual(sizes, [0, 1, 2, 2, 3, 3]);
  assert.deepEqual([quorumSize('all', 4), quorumSize('none', 4), quorumSize(3, 4), quorumSize('all', 0)], [4, 0, 3, 0]);
  assert.throws(
    () => quorumSize(5, 4),
    (thrown) => thrown instanceof AppError && /wants 5 .* only 4/.test(thrown.message),
  );
});

test('the manifest names quorum and outside witnesses', () => {
  assert.deepEqual(parseManifest('containers: []\n').witnesses, { ...defaultWitnesses, nodes: [] });
  const key = vkey('witness.example/w1');
  const { witnesses } = parseManifest(
    `witnesses:\n  quorum: 2\n  outside:\n    - {name: friend, key: ${key}, url: https://w.example/x}\n`,
  );
  assert.deepEqual(witnesses, {
    ...{ quorum: 2, nodes: [] },
    outside: [{ name: 'friend', key, url: 'https://w.example/x' }],
  });
});

const keys = generateKeyPair();
const mistakes: readonly { readonly text: string; readonly at: string; readonly says: RegExp }[] = [
  { text: 'witnesses:\n  quorum: most\n', at: '2:3', says: /expected majority, all, none or a number/ },
  { text: 'witnesses:\n  quorum: 0\n', at: '2:3', says: /witnesses\.quorum/ },
  { text: 'witnesses:\n  quorom: all\n', at: '2:3', says: /unknown key "quorom"; is it "quorum"\?/ },
  { text: 'witnesses:\n  outside:\n    - url: https://x\n', at: '3:7', says: /witnesses\.outside\.0\.key/ },
  { text: 'witnesses:\n  outside:\n    - key: abc\n      url: https://x\n', at: '3:7', says: /not a verifier key/ },
  {
    text: `witnesses:\n  outside:\n    - key: ${vkey('log.example', 1)}\n      url: https://x\n`,
    at: '3:7',
    says: /cosignature\/v1 \(04\), not the key of a log/,
  },
  { text: `witnesses:\n  outside:\n    - key: ${vkey('w')}\n      url: ftp://x\n`, at: '4:7', says: /http\(s\) URL/ },
  {
    text: `witnesses:\n  outside:\n    - {key: ${vkey('a', 4, keys)}, url: https://x}\n    - {key: ${vkey('b', 4, keys)}, url: https://y}\n`,
    at: '4:8',
    says: /the same key as witnesses\.outside\.0/,
  },
];

for (const { text, at, says } of mistakes) {
  test(`a mistake in the manifest is told with its place: ${says.source}`, () => {
    assert.throws(
      () => parseManifest(text),
      (thrown) => thrown instanceof AppError && thrown.message.includes(`:${at}:`) && says.test(thrown.message),
    );
  });
}
