import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { openSignatureThreads } from '../../../collector/signatures/threads.ts';
import { AppError } from '../../../common/errors.ts';
import { generateKeyPair, publicKeyFromRaw, signBytes, verifyBytes } from '../../../common/keys.ts';

const threads = openSignatureThreads(2);
const folder = mkdtempSync(join(tmpdir(), 'sgw-threads-'));
after(async () => {
  await threads.close();
  rmSync(folder, { recursive: true });
});

/** Messages of all lengths by several keys; every third signature is another message's. */
function statements(count: number) {
  const authors = Array.from({ length: 3 }, generateKeyPair);
  return Array.from({ length: count }, (_, at) => {
    const keys = authors[at % 2] ?? generateKeyPair();
    const message = Buffer.alloc(at % 700, at);
    const right = at % 3 !== 0;
    const signature = signBytes(keys.privateKey, right ? message : Buffer.from(`not ${at}`));
    return { publicKey: keys.publicKey, message, signature, right };
  });
}

test('each of many signatures is judged as itself, whatever it travelled with', async () => {
  const asked = statements(1_000);
  const verdicts = await Promise.all(asked.map((one) => threads.verify(one.publicKey, one.message, one.signature)));
  assert.deepEqual(
    verdicts,
    asked.map(({ right }) => right),
  );
});

test('where libsodium cannot be loaded, OpenSSL comes to the same verdicts', async () => {
  const source = new URL('../../../collector/signatures/signature-thread.js', import.meta.url);
  const alone = join(folder, 'thread.mjs');
  copyFileSync(source, alone);
  const slower = openSignatureThreads(1, pathToFileURL(alone));
  const asked = statements(100);
  const verdicts = await Promise.all(asked.map((one) => slower.verify(one.publicKey, one.message, one.signature)));
  await slower.close();
  assert.deepEqual(
    verdicts,
    asked.map(({ right }) => right),
  );
});

test('where no thread can be begun, or it breaks, every question is rejected, and none is left', async () => {
  const asked = statements(300);
  for (const file of [new URL('https://example.org/thread.js'), pathToFileURL(join(folder, 'missing.mjs'))]) {
    const broken = openSignatureThreads(2, file);
    for (let again = 0; again < 2; again++) {
      const answers = asked.map((one) => broken.verify(one.publicKey, one.message, one.signature));
      for (const { status, ...answer } of await Promise.allSettled(answers)) {
        assert.equal(status, 'rejected');
        assert.equal('reason' in answer && answer.reason.code, 'internal.error');
      }
    }
    await broken.close();
  }
});

test('a signature by another key, a changed message and a malformed signature are wrong', async () => {
  const { publicKey, privateKey } = generateKeyPair();
  const message = Buffer.from('what was said');
  const signature = signBytes(privateKey, message);
  assert.equal(await threads.verify(publicKey, message, signature), true);
  assert.equal(await threads.verify(generateKeyPair().publicKey, message, signature), false);
  assert.equal(await threads.verify(publicKey, Buffer.from('what was sold'), signature), false);
  for (const malformed of [
    Buffer.alloc(64),
    Buffer.alloc(0),
    signature.subarray(1),
    Buffer.concat([signature, signature]),
  ]) {
    assert.equal(await threads.verify(publicKey, message, malformed), false);
  }
});

/*
 * Encodings that RFC 8032 leaves to implementations. What the threads accept, everybody must who checks an entry later with
 * another library; what fits every message must be accepted by nobody here.
 */
test('a key that has one signature for every message, which OpenSSL before 3.5 accepts, is refused', async () => {
  const neutral = Buffer.concat([Buffer.from([1]), Buffer.alloc(31)]);
  const signature = Buffer.concat([neutral, Buffer.alloc(32)]);
  const key = publicKeyFromRaw(neutral);
  assert.equal(await threads.verify(key, Buffer.from('anything'), signature), false);
});

test('no signature is accepted in a second form, and none that others refuse', async () => {
  const { publicKey, privateKey } = generateKeyPair();
  const message = Buffer.from('one form only');
  const signature = signBytes(privateKey, message);
  const forms = [withOrderAdded(signature), ...Array.from({ length: 512 }, (_, bit) => withBitFlipped(signature, bit))];
  for (const form of forms) {
    assert.equal(await threads.verify(publicKey, message, form), false);
    assert.equal(verifyBytes(publicKey, message, form), false);
  }
});

test('what was asked is left as it was: the threads have a copy', async () => {
  const { publicKey, privateKey } = generateKeyPair();
  const message = Buffer.from('still mine');
  const signature = signBytes(privateKey, message);
  await threads.verify(publicKey, message, signature);
  assert.equal(message.toString(), 'still mine');
  assert.equal(signature.length, 64);
});

test('closed with work under way, every question is answered or rejected, and later ones are rejected', async () => {
  const closing = openSignatureThreads(2);
  const asked = statements(500);
  const answers = asked.map((one) => closing.verify(one.publicKey, one.message, one.signature));
  const settled = Promise.allSettled(answers);
  await answers[0];
  await closing.close();
  const busy = (reason: unknown) => reason instanceof AppError && reason.code === 'state.busy';
  for (const [at, one] of (await settled).entries()) {
    if (one.status === 'fulfilled') assert.equal(one.value, asked[at]?.right);
    else assert.ok(busy(one.reason));
  }
  const [first] = asked;
  assert.ok(first !== undefined);
  await assert.rejects(closing.verify(first.publicKey, first.message, first.signature), busy);
});

/** Order of the group, little-endian (RFC 8032, section 5.1). */
const order = 2n ** 252n + 27742317777372353535851937790883648493n;

/** The same signature with the order of the group added to its scalar. */
function withOrderAdded(signature: Buffer): Buffer {
  const scalar = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`) + order;
  const added = Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex').reverse();
  return Buffer.concat([signature.subarray(0, 32), added]);
}

function withBitFlipped(signature: Buffer, bit: number): Buffer {
  const flipped = Buffer.from(signature);
  flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return flipped;
}
