import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { openSignatureThreads } from '../../../collector/signatures/threads.ts';
import { AppError } from '../../../common/errors.ts';
import { generateKeyPair, signBytes } from '../../../common/keys.ts';

const threads = openSignatureThreads(2);
after(threads.close);

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
