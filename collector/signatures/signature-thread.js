import { verify } from 'node:crypto';
import { parentPort } from 'node:worker_threads';

/*
 * A thread that checks signatures and does nothing else. One call for a whole run: the thread pool takes each signature by
 * itself, which costs the event loop as long as the check costs the pool. JavaScript, so that a thread can begin with this
 * file as it stands, in the source as in the build.
 */

/** Of an Ed25519 signature (RFC 8032). */
const signatureBytes = 64;

parentPort?.on('message', (/** @type {import('./run.ts').Run} */ run) => {
  /** @satisfies {import('./run.ts').Judged} */
  const judged = { id: run.id, valid: judge(run) };
  parentPort?.postMessage(judged);
});

/** @param {import('./run.ts').Run} run */
function judge({ keys, signed, bytes }) {
  const valid = new Uint8Array(signed.length);
  let at = 0;
  for (const [place, { key, length }] of signed.entries()) {
    const publicKey = keys[key];
    const signatureAt = at + length;
    const message = bytes.subarray(at, signatureAt);
    at = signatureAt + signatureBytes;
    if (publicKey !== undefined && verify(null, message, publicKey, bytes.subarray(signatureAt, at))) valid[place] = 1;
  }
  return valid;
}
