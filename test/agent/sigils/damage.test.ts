import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import fc from 'fast-check';
import { AppError } from '../../../common/errors.ts';
import { flip, intoTables, putRecords, temporaryFolder, Watch, withStore } from './stores.ts';

it('one flipped byte anywhere in a store never breaks a scan, and in a table or a log payload it is always found', async (t) => {
  const folder = temporaryFolder(t);
  const pristine = join(folder, 'pristine');
  await withStore(pristine, async (db) => {
    await putRecords(db, 0, 60);
    await intoTables(db);
    await putRecords(db, 60, 90);
  });
  const files = readdirSync(pristine).filter((name) => statSync(join(pristine, name)).size > 0);
  const place = fc.tuple(fc.constantFrom(...files), fc.nat(1_000_000), fc.integer({ min: 1, max: 255 }));
  await fc.assert(
    fc.asyncProperty(place, async ([name, anywhere, mask]) => {
      const path = join(folder, 'damaged');
      cpSync(pristine, path, { recursive: true });
      const intact = readFileSync(join(path, name));
      const at = anywhere % intact.length;
      flip(join(path, name), at, mask);
      const outcome = await new Watch(path).scan('full').catch((thrown: unknown) => thrown);
      if (outcome instanceof Error) {
        assert.ok(outcome instanceof AppError && outcome.code.startsWith('store.'), String(outcome));
        assert.equal(name, 'CURRENT');
        return;
      }
      if (/\.(ldb|log)$|^MANIFEST/.test(name) && !isLastLength(intact, name, at)) {
        assert.notDeepEqual(Object(outcome).findings, []);
      }
    }),
    { numRuns: 300 },
  );
});

/**
 * A last record whose length was damaged looks like one that is still being written; only the next write tells.
 * True for those two bytes of a log or MANIFEST.
 */
function isLastLength(intact: Buffer, name: string, at: number): boolean {
  if (name.endsWith('.ldb')) return false;
  let last = 0;
  for (let next = 0; next + 7 <= intact.length; ) {
    const left = 32_768 - (next % 32_768);
    if (left < 7) next += left;
    last = next;
    next += 7 + intact.readUInt16LE(next + 4);
  }
  return at === last + 4 || at === last + 5;
}
