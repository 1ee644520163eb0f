import { createPublicKey, verify } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';

/*
 * A thread that checks signatures and does nothing else. One call for a whole run: the thread pool takes each signature by
 * itself, which costs the event loop as long as the check costs the pool. JavaScript, so that a thread can begin with this file
 * as it stands, in the source as in the build.
 */

/** Of an Ed25519 signature (RFC 8032). */
const signatureBytes = 64;
/** DER prefix of an Ed25519 SubjectPublicKeyInfo (RFC 8410); the 32 raw key bytes follow. */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');

/** @typedef {(signature: Buffer, message: Buffer) => boolean} Verify */

/**
 * libsodium takes half the time that OpenSSL does, and what it accepts OpenSSL accepts too: it refuses keys and nonces of small order,
 * and so whoever would have one signature for every message. Where its addon cannot be loaded, OpenSSL does it.
 * @type {(publicKey: Buffer) => Verify}
 */
const verifierOf = await import('sodium-native').then(
  ({ default: sodium }) =>
    (publicKey) =>
    (signature, message) =>
      sodium.crypto_sign_verify_detached(signature, message, publicKey),
  () => (publicKey) => {
    const key = createPublicKey({ key: Buffer.concat([spkiPrefix, publicKey]), format: 'der', type: 'spki' });
    return (signature, message) => verify(null, message, key, signature);
  },
);

yieldToOthers();

parentPort?.on('message', (/** @type {import('./run.ts').Run} */ run) => {
  /** @satisfies {import('./run.ts').Judged} */
  const judged = { id: run.id, valid: judge(run) };
  parentPort?.postMessage(judged);
});

/** @param {import('./run.ts').Run} run */
function judge({ keys, signed, bytes }) {
  const verifiers = keys.map((key) => verifierOf(Buffer.from(key)));
  const all = Buffer.from(bytes.buffer);
  const valid = new Uint8Array(signed.length);
  let at = 0;
  for (const [place, { key, length }] of signed.entries()) {
    const signatureAt = at + length;
    const message = all.subarray(at, signatureAt);
    at = signatureAt + signatureBytes;
    if (verifiers[key]?.(all.subarray(signatureAt, at), message) === true) valid[place] = 1;
  }
  return valid;
}

/** What is checked already is written first: the event loop and the database go before this thread where cores are few. */
function yieldToOthers() {
  try {
    // Linux has a priority for each thread, under its own number; other systems have no such link.
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    setPriority(thread, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // As urgent as everything else, then.
  }
}
