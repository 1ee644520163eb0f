import { setImmediate as nextTurn } from 'node:timers/promises';
import { fsCheckpointFile } from '../../../collector/ledger/fs-checkpoint-file.ts';
import { openOwn } from '../../../collector/ledger/guard.ts';
import { signatureTypes, verifierKey } from '../../../common/note.ts';
import { collectorKeys, testOrigin } from '../../ledgers.ts';
import { quietLogger } from '../../quiet-logger.ts';

/** Reads a checkpoint file over and over until its standard input ends, and fails with the first note that is none of the ledger's. */
const [path = ''] = process.argv.slice(2);
const logKey = verifierKey(testOrigin, signatureTypes.ed25519, collectorKeys.publicKey);
const file = fsCheckpointFile(path, quietLogger);

let ended = false;
process.stdin.resume().on('end', () => {
  ended = true;
});
const seen = new Set<string>();
let last = '';
for (let reads = 1; !ended; reads += 1) {
  const note = (await file.read()) ?? '';
  if (note !== last) {
    openOwn(note, logKey);
    seen.add(note);
    last = note;
  }
  if (reads === 1 || reads % 100 === 0) console.log(`${reads} ${seen.size}`);
  await nextTurn();
}
