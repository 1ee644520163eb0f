/**
 * Child process of the power-cut test: works with the outbox in the given folder, and writes into the file `promised` beside it
 * what the outbox has promised, when it has: `said NUMBER HASH` and `state LANE VALUE`.
 */
import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openOutbox } from '../../agent/outbox/outbox.ts';
import { entryHash } from '../../common/entry.ts';
import type { Statement } from '../../common/kinds.ts';
import { options, steppingClock } from '../agent/outbox/support.ts';
import { randomOf } from '../e2e/random.ts';

const [parent = '', seed = '0', rounds = '1'] = process.argv.slice(2);
const random = randomOf(Number(seed), 'life');
const clock = steppingClock();
const promised = openSync(join(parent, 'promised'), 'a');
const promise = (text: string) => writeSync(promised, `${text}\n`);

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const noise = (length: number) => Array.from({ length }, () => letters[random.int(0, letters.length - 1)]).join('');

/** Large and hard to compress: the database begins a new log after every MiB. */
function bulky(): Statement {
  return { kind: 'witness.released', body: { evidence: noise(20), heldSize: 0, reason: noise(random.int(10, 2_000)) } };
}

for (let round = 0; round < Number(rounds); round += 1) {
  const outbox = await openOutbox(options(parent, { reserveFileBytes: 4_096, clock }));
  if (!outbox.anchored) await outbox.anchor(outbox.acked);
  const lane = async (name: number): Promise<void> => {
    for (let n = random.int(5, 120); n > 0; n -= 1) {
      const value = (outbox.head.seq + 1) * 10 + name;
      const count = random.chance(0.1) ? 20 : random.int(1, 5);
      const entries = await outbox.append(Array.from({ length: count }, bulky), [{ key: `lane/${name}`, value }]);
      for (const { entry, bytes } of entries) promise(`said ${entry.seq} ${entryHash(bytes)}`);
      promise(`state lane/${name} ${value}`);
      if (outbox.depth < 20 || !random.chance(0.3)) continue;
      const through = outbox.acked.seq + random.int(outbox.depth >> 1, outbox.depth);
      await outbox.trim(through, `note ${through}`);
    }
  };
  await Promise.all([0, 1, 2].map(lane));
  await outbox.close();
}
