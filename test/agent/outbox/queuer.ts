/** Child process of the memory test: queues, reopens and drains many entries and prints what that took as JSON. */
import { readFileSync } from 'node:fs';
import { openOutbox } from '../../../agent/outbox/outbox.ts';
import { options, report } from './support.ts';

const [parent = '', entries = '0'] = process.argv.slice(2);
const sizes: Record<string, number> = {};

/** Resident memory of the process itself, and of the files it has mapped, in MiB (Linux). */
function measure(name: string): void {
  globalThis.gc?.();
  const status = readFileSync('/proc/self/status', 'utf8');
  for (const part of ['Anon', 'File']) {
    const kib = Number(new RegExp(`Rss${part}:\\s+(\\d+)`).exec(status)?.[1]);
    sizes[`${part.toLowerCase()}${name}Mb`] = Math.round(kib / 1024);
  }
  sizes[`heap${name}Mb`] = Math.round(process.memoryUsage().heapUsed / 1024 ** 2);
}

let outbox = await openOutbox(options(parent));
await outbox.anchor(outbox.acked);
await outbox.append([report(0)]);
measure('Before');
for (let said = 0; said < Number(entries); said += 500) {
  await Promise.all(Array.from({ length: 500 }, (_, n) => outbox.append([report(said + n)])));
}
measure('Queued');
sizes.queuedBytes = outbox.bytes;
await outbox.close();
const begun = performance.now();
outbox = await openOutbox(options(parent));
sizes.openMs = Math.round(performance.now() - begun);
measure('Reopened');
while (outbox.depth > 0) {
  const batch = await outbox.read(outbox.acked.seq, { maxEntries: 200, maxBytes: 512 * 1024 });
  await outbox.trim(batch.at(-1)?.entry.seq ?? 0, 'note');
}
measure('Drained');
await outbox.close();
process.stdout.write(`${JSON.stringify(sizes)}\n`);
