/**
 * Writes a history to a store as fast as the store takes it: `history-writer.ts FOLDER SEED [AFTER]`. Goes on behind AFTER batches,
 * says `N` when N are in the store, now and then, until SIGTERM; then closes the store, opens it again, reads all of it, and says
 * as JSON what is there.
 */
import { Level } from 'level';
import { digestOf, WrittenHistory } from './written-history.ts';

const batchesPerWord = 100;
/** Small, so that tables are made and rewritten all the time. */
const shape = { valueEncoding: 'json', writeBufferSize: 64 * 1024, maxFileSize: 64 * 1024 } as const;
const [path = '', seed = '0', after = '0'] = process.argv.slice(2);
const history = new WrittenHistory(Number(seed));
let stopped = false;
process.once('SIGTERM', () => {
  stopped = true;
});

const db = new Level<string, unknown>(path, shape);
await db.open();
let batches = Number(after);
while (!stopped) {
  await db.batch(history.operations(batches + 1));
  batches++;
  if (batches % batchesPerWord === 0) process.stdout.write(`${batches}\n`);
}
await db.close();

const again = new Level<string, { readonly updatedAt: number }>(path, shape);
await again.open();
const found: [string, number][] = [];
for await (const [key, { updatedAt }] of again.iterator()) found.push([key, updatedAt]);
await again.close();
process.stdout.write(`${JSON.stringify({ batches, records: found.length, digest: digestOf(found) })}\n`);
