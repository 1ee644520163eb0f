import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { formatCheckpoint } from '../../common/checkpoint.ts';
import { cosign, withCosignature } from '../../common/cosignature.ts';
import { AppError } from '../../common/errors.ts';
import { isQuorum, judgeCheckpoint, weighCheckpoint } from '../../common/judgement.ts';
import { keyPairFromSeed } from '../../common/keys.ts';
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
import { fleetPolicy, formatPolicy, parsePolicy } from '../../common/policy.ts';
import { loadVectors } from './load-vectors.ts';

const names = z.array(z.string());
const policyVector = z.strictObject({
  source: z.string(),
  text: z.string(),
  logs: names,
  witnesses: names,
  reached: z.array(names),
  missed: z.array(names),
});
const refusedVector = z.strictObject({ source: z.string(), line: z.int(), text: z.string() });
const cosignedVector = z.looseObject({ note: z.string(), logKey: z.string(), witnessKeys: names, size: z.int() });

const origin = 'log.example/one';
const logPair = keyPairFromSeed(Buffer.alloc(32, 1));
const log = { key: verifierKey(origin, signatureTypes.ed25519, logPair.publicKey) };
const logSigner = noteSigner(origin, signatureTypes.ed25519, logPair);
const text = formatCheckpoint({ origin, size: 7, root: emptyRoot, extensions: [] });

function witness(name: string, seed: number) {
  const pair = keyPairFromSeed(Buffer.alloc(32, seed));
  const signer = noteSigner(name, signatureTypes.cosignatureV1, pair);
  return { signer, key: verifierKey(name, signatureTypes.cosignatureV1, pair.publicKey) };
}

const all = ['lyra', 'node1', 'node2', 'node3'].map((name, at) => witness(`${origin}/${name}`, 10 + at));

function noteBy(signers: readonly ReturnType<typeof witness>[]): string {
  const cosigned = signers.reduce(
    (note, { signer }, at) => {
      return withCosignature(note, cosign(text, signer, 1_700_000_000_000 + at * 1_000));
    },
    signNote(text, logSigner),
  );
  return formatNote(cosigned);
}

function refusal(work: () => unknown): AppError {
  try {
    work();
  } catch (thrown) {
    assert.ok(thrown instanceof AppError);
    return thrown;
  }
  return assert.fail('expected a refusal');
}

describe('policies are read as the specification says', () => {
  for (const { name, vector } of loadVectors('policy', policyVector)) {
    test(name, () => {
      const policy = parsePolicy(vector.text);
      assert.deepEqual(
        policy.logs.map(({ key }) => key.name),
        vector.logs,
      );
      assert.deepEqual(
        policy.witnesses.map((known) => known.name),
        vector.witnesses,
      );
      for (const set of vector.reached) assert.ok(isQuorum(policy, new Set(set)), set.join());
      for (const set of vector.missed) assert.ok(!isQuorum(policy, new Set(set)), set.join());
    });
  }

  for (const { name, vector } of loadVectors('policy-refused', refusedVector)) {
    test(`refused, naming the line: ${name}`, () => {
      const { code, details, message } = refusal(() => parsePolicy(vector.text));
      assert.deepEqual([code, details.line], ['validation.policy', vector.line], message);
    });
  }

  test('octets that are no UTF-8 are names of their own, and come back as they were', () => {
    const vkey = (seed: number) => formatPolicy(fleetPolicy({ log, witnesses: [witness('w', seed)], threshold: 1 }));
    const keyOf = (seed: number) => vkey(seed).split('\n')[1]?.split(' ')[2] ?? '';
    const lines = [`witness \xe4 ${keyOf(31)}\n`, `witness \xc3\xa4 ${keyOf(32)}\n`, 'quorum \xe4\n'];
    const policy = parsePolicy(Buffer.from(lines.join(''), 'latin1'));
    const [odd, even] = policy.witnesses.map(({ name }) => name);
    assert.equal(even, 'ä');
    assert.notEqual(odd, even);
    assert.equal(policy.quorum, odd);
    assert.throws(() => parsePolicy(Buffer.from(`${lines[0]}quorum \xe5\n`, 'latin1')), { code: 'validation.policy' });
  });
});

describe('policies are written', () => {
  for (const { name, vector } of loadVectors('policy', policyVector)) {
    test(`and read again as the same: ${name}`, () => {
      const policy = parsePolicy(vector.text);
      assert.deepEqual(parsePolicy(formatPolicy(policy)), policy);
    });
  }

  test('any flipped bit of the file is found', () => {
    const policy = Buffer.from(formatPolicy(fleetPolicy({ log, witnesses: all, threshold: 2 })));
    for (let at = 0; at < 8 * policy.length; at++) {
      const flipped = Buffer.from(policy);
      const byte = Math.floor(at / 8);
      flipped.writeUInt8(flipped.readUInt8(byte) ^ (1 << (at % 8)), byte);
      assert.throws(() => parsePolicy(flipped), { code: 'validation.policy' }, `bit ${at}`);
    }
  });

  test('a file without its checksum is for whoever wants to change it', () => {
    const file = formatPolicy(fleetPolicy({ log, witnesses: all, threshold: 2 }));
    const edited = file.replace('group quorum 2', 'group quorum 3');
    assert.match(refusal(() => parsePolicy(edited)).message, /line 8: .*delete this line/);
    assert.equal(parsePolicy(edited.replace(/^#.*\n/m, '')).groups[0]?.threshold, 3);
  });

  test('of a fleet: nobody counts twice, and nobody is asked for more than there is', () => {
    assert.equal(fleetPolicy({ log, witnesses: [], threshold: 0 }).quorum, 'none');
    assert.throws(() => fleetPolicy({ log, witnesses: all, threshold: 5 }), { code: 'validation.policy' });
    const [first] = all;
    assert.ok(first);
    assert.throws(() => fleetPolicy({ log, witnesses: [first, first], threshold: 1 }), { code: 'validation.policy' });
  });
});

describe('a checkpoint is judged by the policy', () => {
  const policy = fleetPolicy({ log, witnesses: all, threshold: 3 });

  for (const { name, vector } of loadVectors('cosigned-checkpoint', cosignedVector)) {
    test(`published: ${name}`, () => {
      const keys = vector.witnessKeys.map((vkey) => ({ key: parseVerifierKey(vkey) }));
      const published = fleetPolicy({ log: { key: parseVerifierKey(vector.logKey) }, witnesses: keys, threshold: 4 });
      const judged = judgeCheckpoint(vector.note, published);
      assert.equal(judged.checkpoint.size, vector.size);
      assert.equal(judged.cosignatures.length, 4);
      assert.equal(judged.unknownSignatures, 1);
    });
  }

  test('enough cosignatures make it count, and are told with their times', () => {
    const judged = judgeCheckpoint(noteBy(all.slice(1)), policy);
    assert.equal(judged.checkpoint.size, 7);
    assert.deepEqual(
      judged.cosignatures.map(({ name, timestampSeconds }) => [name, timestampSeconds]),
      all.slice(1).map(({ key }, at) => [key.name, 1_700_000_000 + at]),
    );
  });

  test('too few do not, and who did is told', () => {
    const { code, details } = refusal(() => judgeCheckpoint(noteBy(all.slice(2)), policy));
    assert.equal(code, 'ledger.quorum');
    assert.deepEqual(details.cosignedBy, [`${origin}/node2`, `${origin}/node3`]);
    assert.equal(weighCheckpoint(noteBy(all.slice(2)), policy).quorumReached, false);
  });

  test('strangers count for nothing', () => {
    const strangers = [witness(`${origin}/node1`, 77), witness('elsewhere', 78)];
    assert.throws(() => judgeCheckpoint(noteBy([...all.slice(2), ...strangers]), policy), { code: 'ledger.quorum' });
    assert.equal(weighCheckpoint(noteBy([...all, ...strangers]), policy).unknownSignatures, 2);
  });

  test('a witness whose clock shows an impossible time does not count, and spoils nothing for the others', () => {
    const [evil] = all;
    assert.ok(evil);
    const lines = parseNote(noteBy(all.slice(1))).signatures;
    const note = { text, signatures: [...lines, cosign(text, evil.signer, 9e18)] };
    const { timeless, cosignatures, quorumReached, unknownSignatures } = judgeCheckpoint(formatNote(note), policy);
    assert.deepEqual([timeless, cosignatures.length, quorumReached, unknownSignatures], [[evil.key.name], 3, true, 0]);
    const short = { text, signatures: note.signatures.toSpliced(1, 1) };
    assert.throws(() => judgeCheckpoint(formatNote(short), policy), { code: 'ledger.quorum' });
    const broken = Buffer.from(formatNote(note));
    broken.write(broken.at(-20) === 0x41 ? 'B' : 'A', broken.length - 20);
    assert.throws(() => judgeCheckpoint(broken.toString(), policy), { code: 'auth.signature' });
  });

  test('one witness twice is one witness', () => {
    const [first, second] = all;
    assert.ok(first && second);
    const again = noteBy([first]).split('\n').at(-2);
    const twice = `${noteBy([first, second])}${again}\n`;
    assert.equal(weighCheckpoint(twice, policy).cosignatures.length, 2);
    assert.throws(() => judgeCheckpoint(twice, policy), { code: 'ledger.quorum' });
  });

  test('another log, another key of the same name, and a policy without logs are refused', () => {
    const other = verifierKey(origin, signatureTypes.ed25519, keyPairFromSeed(Buffer.alloc(32, 99)).publicKey);
    const elsewhere = verifierKey('log.example/two', signatureTypes.ed25519, logPair.publicKey);
    for (const key of [other, elsewhere]) {
      const wrong = fleetPolicy({ log: { key }, witnesses: all, threshold: 3 });
      assert.throws(() => judgeCheckpoint(noteBy(all), wrong), { code: 'auth.signature' });
    }
    assert.throws(() => judgeCheckpoint(noteBy(all), parsePolicy('quorum none\n')), { code: 'auth.signature' });
  });

  test('any flipped bit of the note is found, although the quorum would be reached without the witness it hit', () => {
    const note = Buffer.from(noteBy(all));
    for (let at = 0; at < 8 * note.length; at++) {
      const flipped = Buffer.from(note);
      const byte = Math.floor(at / 8);
      flipped.writeUInt8(flipped.readUInt8(byte) ^ (1 << (at % 8)), byte);
      assert.throws(() => judgeCheckpoint(flipped.toString('utf8'), policy), AppError, `bit ${at}`);
    }
  });
});
