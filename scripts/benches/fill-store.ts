/**
 * Puts records into a sigil store: `fill-store.ts FOLDER RECORDS SECRET [leave-in-log]`. A process of its own, so that the bench
 * stays small.
 */
import { Level } from 'level';
import { makeSigilRecord } from '../../test/fakes/sigil-writer.ts';

const batchRecords = 1_000;
const [dir = '', count = '0', secret = '', leaving] = process.argv.slice(2);
const records = Number(count);

async function withStore(work: (db: Level<string, unknown>) => Promise<void>): Promise<void> {
  const db = new Level<string, unknown>(dir, { valueEncoding: 'json' });
  await db.open();
  await work(db);
  await db.close();
}

await withStore(async (db) => {
  for (let made = 0; made < records; made += batchRecords) {
    const batch = Array.from({ length: Math.min(batchRecords, records - made) }, (_, i) => {
      return {
        type: 'put' as const,
        ...makeSigilRecord({ tenant: 'bench', secret, symbol: `SYM${(made + i) % 100}` }),
      };
    });
    await db.batch(batch);
    if (made % 100_000 === 0) process.stdout.write(`${made} of ${records} records\n`);
  }
});
// Opened once more, what was in the log is in a table.
if (leaving === undefined) await withStore(async () => {});
process.stdout.write('done\n');
