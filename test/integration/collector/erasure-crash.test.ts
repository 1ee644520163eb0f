import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { eraseEntries, unfinishedErasure } from '../../../collector/ledger/erasure/erasure.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { fromSource } from '../../from-source.ts';
import { collectorKeys, startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres, testPool } from '../../postgres.ts';
import {
  assertInOrder,
  type BreakingPoint,
  bodiesBefore,
  breakingAt,
  breakingPoints,
  erasureNeeds,
  exportingTo,
  layPartitions,
  request,
} from './erasable.ts';
import { anyHistory, asEnrolled, narrator, withRuns } from './histories.ts';

const run = promisify(execFile);
const long = process.env.SIGILWATCH_TEST_LONG === '1';
const program = fileURLToPath(new URL('./erase-until.ts', import.meta.url));
/** Where the erased partition ends. */
const boundary = 90;

let postgres: TestPostgres;
let root: string;
let template: { url: string; ownerUrl: string };
const pools: Db[] = [];

before(async () => {
  postgres = await startPostgres();
  template = await makeTemplate();
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-erasure-'));
});
after(async () => {
  for (const pool of pools) await pool.end();
  await postgres.stop();
  await rm(root, { recursive: true, force: true });
});

/** A ledger that goes on well beyond the boundary, made once and copied for each test. */
async function makeTemplate(): Promise<{ url: string; ownerUrl: string }> {
  const template = await postgres.writerDatabase();
  await layPartitions(template.ownerUrl, [boundary]);
  const db = testPool(template.url);
  const [history = []] = fc.sample(anyHistory({ minLength: 270, maxLength: 270 }), { numRuns: 1, seed: 23 });
  await narrator(await startLedger(postgresLedgerStore(db))).tell(withRuns(asEnrolled(history)));
  await db.end();
  return template;
}

async function makeLedger() {
  const ownerUrl = await postgres.copyOf(template.ownerUrl);
  const url = Object.assign(new URL(template.url), { pathname: new URL(ownerUrl).pathname }).href;
  const db = testPool(url);
  pools.push(db);
  const ledger = await startLedger(postgresLedgerStore(db));
  const folder = await mkdtemp(join(root, 'exports-'));
  const whole = { needs: erasureNeeds({ db, ledger, ownerUrl }), exporting: exportingTo(folder, { db, ledger }) };
  return { url, ownerUrl, db, ledger, folder, whole };
}

type World = Awaited<ReturnType<typeof makeLedger>>;

/** How often the ledger says that something was erased. */
async function timesSaid(db: Db): Promise<number> {
  const { rows } = await db.query<{ said: number }>(
    `select count(*) as said from entries where kind = 'ledger.erased'`,
  );
  return rows[0]?.said ?? 0;
}

const onRecord = (point: BreakingPoint) => breakingPoints.indexOf(point) >= breakingPoints.indexOf('after the entry');

async function assertAsItWasOrDone({ db, url, whole }: World, point: BreakingPoint): Promise<void> {
  const erased = await assertInOrder(db, url);
  const done = point === 'after the commit';
  assert.equal(erased > 0, done);
  assert.equal(await timesSaid(db), onRecord(point) ? 1 : 0);
  const unfinished = await unfinishedErasure(whole.needs.store, collectorKeys.publicKey);
  assert.equal(unfinished?.to, onRecord(point) && !done ? boundary : undefined);
}

async function assertNextRunDoesIt({ db, url, folder, whole }: World, point: BreakingPoint): Promise<void> {
  const file = `entries-000000000000-${String(boundary - 1).padStart(12, '0')}.jsonl`;
  if (point === 'before the export') await writeFile(join(folder, `${file}.partial-1`), 'cut off in the mid');
  const report = await eraseEntries(whole.needs, { ...request(200), exportSpan: whole.exporting });
  assert.equal(report.boundary, boundary);
  assert.equal(report.finished?.to, onRecord(point) && point !== 'after the commit' ? boundary : undefined);
  assert.equal(await timesSaid(db), 1, 'what was on record is not said again');
  const kept = await bodiesBefore(db, boundary);
  assert.ok(kept.length >= 4 && kept.length < boundary / 2);
  assert.equal(await assertInOrder(db, url), boundary - kept.length);
  assert.deepEqual(await readdir(folder), [file]);
}

describe('an erasure that is broken off loses nothing, and the next run does the rest', () => {
  for (const point of breakingPoints) {
    test(`by a failure ${point}, or its answer lost`, async () => {
      const world = await makeLedger();
      const broken = breakingAt(
        point,
        () => {
          throw new Error('broken off');
        },
        world.whole,
      );
      const erasing = eraseEntries(broken.needs, { ...request(200), exportSpan: broken.exporting });
      await assert.rejects(erasing, /broken off/);
      await assertAsItWasOrDone(world, point);
      await assertNextRunDoesIt(world, point);
    });
  }

  for (const point of long ? breakingPoints : (['after the entry', 'before the commit'] as const)) {
    test(`by kill -9 ${point}`, async () => {
      const world = await makeLedger();
      const args = [...fromSource(program), world.url, world.ownerUrl, '200', world.folder, point];
      await assert.rejects(run(process.execPath, args), { signal: 'SIGKILL' });
      await assertAsItWasOrDone(world, point);
      await assertNextRunDoesIt(world, point);
    });
  }
});
