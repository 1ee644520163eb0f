import { constants, setPriority } from 'node:os';
import { publicKeyFromRaw } from '../../common/keys.ts';
import { systemClock } from '../clock.ts';
import { checkDatabase } from './database-check.ts';
import { type CheckMessage, checkTask } from './messages.ts';

/*
 * Checks the ledger for a collector, in a process of its own: whatever it costs, the collector goes on acknowledging beside it. Is told
 * one task, says what it came to, and ends; and ends at once when the collector is gone, however that came about.
 */

/** A terminal, or systemd, tells all processes to stop; here the collector does, which knows what becomes of the check. */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.exit(0));
try {
  setPriority(constants.priority.PRIORITY_LOW);
} catch {
  // A sandbox may refuse the call; the share of the time that the check takes is bounded all the same.
}

const say = (message: CheckMessage) => process.send?.(message);
/** Progress is for people and for noticing that it hangs. */
const sayEveryMs = 1_000;

process.once('message', async (told: unknown) => {
  const { databaseUrl, collectorKey, origin, checkpoints, share } = checkTask.parse(told);
  const ledger = {
    origin,
    collectorKey: publicKeyFromRaw(Buffer.from(collectorKey, 'base64')),
    checkpoints: checkpoints.map(({ root, ...kept }) => ({ ...kept, root: Buffer.from(root, 'base64') })),
  };
  let saidMs = Number.NEGATIVE_INFINITY;
  const check = await checkDatabase(ledger, {
    ...{ url: databaseUrl, share, threads: 1, clock: systemClock },
    onProgress: (done, of) => {
      if (performance.now() - saidMs < sayEveryMs) return;
      saidMs = performance.now();
      say({ type: 'progress', done, of });
    },
  });
  // Ends by itself once the collector has read it and hangs up.
  say({ type: 'done', check });
});
