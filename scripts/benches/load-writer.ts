/**
 * Writes to a sigil store as fast as it takes it, the same sigils over and over, some deleted: `load-writer.ts FOLDER SECRET`. A process of
 * its own. Says `ready` once each has been written, and answers each line it is sent with one line of JSON. Ends with SIGTERM.
 */
import { createInterface } from 'node:readline';
import { Level } from 'level';
import { type MadeRecord, makeSigilRecord } from '../../test/fakes/sigil-writer.ts';

const sigils = 20_000;
const batchRecords = 50;
/** One record in so many is deleted. */
const writesPerDeletion = 10;
const [dir = '', secret = ''] = process.argv.slice(2);

const made: readonly MadeRecord[] = Array.from({ length: sigils }, (_, nth) =>
  makeSigilRecord({ tenant: 'bench', secret, symbol: `SYM${nth % 100}` }),
);
const db = new Level<string, unknown>(dir, { valueEncoding: 'json' });
await db.open();
await db.batch(made.map((record) => ({ type: 'put', ...record })));

let stopped = false;
let records = 0;
let asked = 0;
process.once('SIGTERM', () => {
  stopped = true;
});
const orders = createInterface({ input: process.stdin });
orders.on('line', () => {
  asked += 1;
  process.stdout.write(`${JSON.stringify({ nth: asked, records, ms: performance.now() })}\n`);
});
process.stdout.write('ready\n');
while (!stopped) {
  const updatedAt = new Date().toISOString();
  await db.batch(
    Array.from({ length: batchRecords }, (_, nth) => {
      const { key, value } = made[Math.floor(Math.random() * sigils)] ?? { key: 'bench!none', value: {} };
      if (nth % writesPerDeletion === 0) return { type: 'del' as const, key };
      return { type: 'put' as const, key, value: { ...value, updatedAt } };
    }),
  );
  records += batchRecords;
}
await db.close();
orders.close();
