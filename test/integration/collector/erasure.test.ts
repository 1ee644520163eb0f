import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { createPool, type Db } from '../../../collector/postgres/pool.ts';
import { randomOf, seedOf } from '../../e2e/random.ts';
import { startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { assertInOrder, bodiesBefore, eraseTo, erasureNeeds, layPartitions } from './erasable.ts';
import { anyHistory, asEnrolled, narrator } from './histories.ts';

/** Told between two erasures. */
const entries = 220;
const long = process.env.SIGILWATCH_TEST_LONG === '1';
const seed = seedOf('erasures at random boundaries');

let postgres: TestPostgres;
const pools: Db[] = [];

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  for (const pool of pools) await pool.end();
  await postgres.stop();
});

function poolOn(url: string): Db {
  const pool = createPool({ url, applicationName: 'test', maxConnections: 4, onIdleError: () => {} });
  pools.push(pool);
  return pool;
}

describe('after erasures at random boundaries', () => {
  for (let run = 0; run < (long ? 60 : 1); run++) {
    test(`everything is in order, to the row, and later erasures go on from there: ${run}`, async () => {
      const random = randomOf(seed, `run ${run}`);
      const ends = new Set<number>();
      for (let at = random.int(1, 150); at < 3 * entries; at += random.int(1, 150)) ends.add(at);
      const { url, ownerUrl } = await postgres.writerDatabase();
      await layPartitions(ownerUrl, [...ends]);
      const db = poolOn(url);
      const ledger = await startLedger(postgresLedgerStore(db));
      const narrated = narrator(ledger);
      const needs = erasureNeeds({ db, ledger, ownerUrl });
      const histories = fc.sample(anyHistory({ minLength: entries, maxLength: entries }), {
        numRuns: 3,
        seed: seed + run,
      });
      let boundary = 0;
      for (const history of histories) {
        await narrated.tell(asEnrolled(history));
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
