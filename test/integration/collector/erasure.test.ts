import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { connectClient } from '../../../collector/postgres/pool.ts';
import { randomOf, seedOf } from '../../e2e/random.ts';
import { startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { until } from '../../until.ts';
import { assertInOrder, bodiesBefore, eraseTo, erasureNeeds, layPartitions } from './erasable.ts';
import { anyHistory, asEnrolled, narrator, withRuns } from './histories.ts';

/** Told between two erasures. */
const entries = 220;
const long = process.env.SIGILWATCH_TEST_LONG === '1';
const seed = seedOf('erasures at random boundaries');

let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});

describe('after erasures at random boundaries', () => {
  for (let run = 0; run < (long ? 60 : 1); run++) {
    test(`everything is in order, to the row, and later erasures go on from there: ${run}`, async () => {
      const random = randomOf(seed, `run ${run}`);
      const ends = new Set<number>();
      for (let at = random.int(1, 150); at < 3 * entries; at += random.int(1, 150)) ends.add(at);
      const { url, ownerUrl } = await postgres.writerDatabase();
      await layPartitions(ownerUrl, [...ends]);
      const db = postgres.pool(url);
      const ledger = await startLedger(postgresLedgerStore(db));
      const narrated = narrator(ledger);
      const needs = erasureNeeds({ db, ledger, ownerUrl });
      const histories = fc.sample(anyHistory({ minLength: entries, maxLength: entries }), {
        numRuns: 3,
        seed: seed + run,
      });
      let boundary = 0;
      for (const history of histories) {
        await narrated.tell(withRuns(asEnrolled(history)));
        const { size } = await ledger.checkpoint();
        const report = await eraseTo(needs, random.int(boundary, size));
        boundary = report.boundary;
        assert.ok(boundary === 0 || ends.has(boundary));
        const bodies = await bodiesBefore(db, boundary);
        assert.equal(await assertInOrder(db, url), boundary - bodies.length);
      }
      await narrated.tell(
        asEnrolled(fc.sample(anyHistory({ minLength: 20, maxLength: 20 }), { numRuns: 1, seed })[0] ?? []),
      );
      await assertInOrder(db, url);
    });
  }
});

test('an erasure lets readers and appends go first, and nothing is lost or late for long', async () => {
  const { url, ownerUrl } = await postgres.writerDatabase();
  await layPartitions(ownerUrl, [100]);
  const db = postgres.pool(url);
  const ledger = await startLedger(postgresLedgerStore(db));
  const narrated = narrator(ledger);
  const [before = [], meanwhile = []] = fc.sample(anyHistory({ minLength: 260, maxLength: 260 }), { numRuns: 2, seed });
  await narrated.tell(withRuns(asEnrolled(before)));
  const reader = await connectClient({ url, applicationName: 'test' });
  await reader.query('begin; select count(*) from entry_bodies');
  let erased = false;
  const erasing = eraseTo(erasureNeeds({ db, ledger, ownerUrl }), 100).then((report) => {
    erased = true;
    return report;
  });
  await until('the erasure is on record', async () => {
    const { rowCount } = await db.query(`select from entries where kind = 'ledger.erased'`);
    return rowCount === 1;
  });
  // As long as somebody reads nothing is dropped, and nobody who appends waits for the end of that.
  await narrated.tell(withRuns(asEnrolled(meanwhile)));
  assert.equal(erased, false);
  assert.equal((await bodiesBefore(db, 100)).length, 100);
  await reader.end();
  assert.equal((await erasing).boundary, 100);
  await assertInOrder(db, url);
});
