/** Child process of the kill test: appends until it is killed and prints the number of each entry that is durable. */
import { writeSync } from 'node:fs';
import { openOutbox } from '../../../agent/outbox/outbox.ts';
import { cleared, options } from './support.ts';

const [parent = ''] = process.argv.slice(2);
const outbox = await openOutbox(options(parent));
if (!outbox.anchored) await outbox.anchor(outbox.acked);
writeSync(1, `open ${outbox.recovery === undefined ? 'sound' : outbox.recovery.reason}\n`);

/** Several at once, so that groups form; every line is written only after its entry was acknowledged. */
async function sayOn(lane: number): Promise<never> {
  for (let n = 0; ; n += 1) {
    const text = 'x'.repeat(1 + ((n * 37) % 500));
    const [signed] = await outbox.append(
      [cleared(`${lane}/${n}`, text)],
      [{ key: `lane/${lane}`, value: outbox.head.seq }],
    );
    writeSync(1, `${signed?.entry.seq}\n`);
    if (lane === 0 && n % 20 === 19) await outbox.trim(outbox.head.seq - 10, `note ${n}`);
  }
}

await Promise.all([0, 1, 2].map(sayOn));
