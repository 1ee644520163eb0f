import { readlinkSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import sodium from 'sodium-native';

/*
 * A thread that checks signatures and does nothing else. One call for a whole run: the thread pool takes each signature by
 * itself, which costs the event loop as long as the check costs the pool. libsodium takes half the time that Node's own
 * cryptography does, and what it accepts Node accepts too: it refuses keys of small order, and so whoever would have one
 * signature for every message. JavaScript, so that a thread can begin with this file as it stands, in the source as in the build.
 */

/** Of an Ed25519 signature (RFC 8032). */
const signatureBytes = 64;

yieldToOthers();

parentPort?.on('message', (/** @type {import('./run.ts').Run} */ run) => {
  /** @satisfies {import('./run.ts').Judged} */
  const judged = { id: run.id, valid: judge(run) };
  parentPort?.postMessage(judged);
});

/** @param {import('./run.ts').Run} run */
function judge({ keys, signed, bytes }) {
  const publicKeys = keys.map((key) => Buffer.from(key));
  const all = Buffer.from(bytes.buffer);
  const valid = new Uint8Array(signed.length);
  let at = 0;
  for (const [place, { key, length }] of signed.entries()) {
    const signatureAt = at + length;
    const message = all.subarray(at, signatureAt);
    const publicKey = publicKeys[key];
    at = signatureAt + signatureBytes;
    const signature = all.subarray(signatureAt, at);
    if (publicKey !== undefined && sodium.crypto_sign_verify_detached(signature, message, publicKey)) valid[place] = 1;
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
