import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../../collector/clock.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import { project } from '../../../collector/ledger/projections.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { type Db, type Tx, withClient } from '../../../collector/postgres/pool.ts';
import { applyProjections } from '../../../collector/postgres/projection-store.ts';
import { type LoggedEntry, parseEntry } from '../../../common/entry.ts';
import type { Kind, Statement } from '../../../common/kinds.ts';
import { statements } from '../../arbitrary/statements.ts';
import { type TestAuthor, testAuthor } from '../../authors.ts';
import { startPostgres, type TestPostgres, testPool } from '../../postgres.ts';

let postgres: TestPostgres;
let pool: Db;

before(async () => {
  postgres = await startPostgres();
  const url = await postgres.migratedDatabase();
  pool = testPool(url);
});
after(async () => {
  await pool.end();
  await postgres.stop();
});

const long = process.env.SIGILWATCH_TEST_LONG === '1';

const tables = [
  'nodes',
  'containers',
  'drifts',
  'findings',
  'coverage',
  'coverage_gaps',
  'orders',
  'order_events',
  'measures',
  'artifacts',
  'artifact_registrations',
  'artifact_scores',
  'enforcements',
  'enforcement_events',
];

/** Kinds that leave rows, more often than the rest. */
const projected: readonly Kind[] = [
  'node.enrolled',
  'node.revoked',
  'agent.started',
  'report',
  'observed',
  'drift.opened',
  'drift.changed',
  'drift.resolved',
  'sigil.finding',
  'sigil.cleared',
  'sigil.accepted',
  'coverage.gap',
  'order.issued',
  'order.local',
  'order.approved',
  'order.rejected',
  'order.result',
  'enforcement.frozen',
  'drift.silenced',
  'desired.adopted',
  'artifact.registered',
  'artifact.scored',
];
const anyStatement = fc.oneof({ weight: 5, arbitrary: statements(projected) }, { weight: 1, arbitrary: statements() });
const spoken = fc.record({ author: fc.constantFrom('node1', 'node2', 'collector'), statement: anyStatement });

interface Spoken {
  readonly author: string;
  readonly statement: Statement;
}

/** The entries as they would be read from the ledger. */
function logged(history: readonly Spoken[]): LoggedEntry[] {
  const authors = new Map<string, TestAuthor>();
  return history.map(({ author, statement }, index) => {
    const known = authors.get(author) ?? testAuthor(author);
    authors.set(author, known);
    const { bytes, signature } = known.next(statement);
    return { entry: parseEntry(bytes), bytes, signature, index };
  });
}

/** Every row of every table after the batches, as text in one order. Nothing of it stays. */
async function rowsAfter(batches: readonly (readonly LoggedEntry[])[]): Promise<Record<string, unknown[]>> {
  return withClient(pool, async (tx) => {
    await tx.query('begin');
    try {
      for (const batch of batches) await applyProjections(tx, project(batch));
      return await dump(tx);
    } finally {
      await tx.query('rollback');
    }
  });
}

async function dump(tx: Tx): Promise<Record<string, unknown[]>> {
  const found: Record<string, unknown[]> = {};
  for (const table of tables) {
    const { rows } = await tx.query(`select to_jsonb(t)::text as row from ${table} t order by 1`);
    found[table] = rows.map(({ row }) => row);
  }
  return found;
}

function cutUp<T>(items: readonly T[], cuts: readonly number[]): T[][] {
  const rest = [...items];
  return [...cuts.map((cut) => rest.splice(0, cut)), rest];
}

describe('projections in PostgreSQL', () => {
  test('are the same rows however the ledger is cut into batches', async () => {
    const histories = fc.array(spoken, { minLength: 1, maxLength: 60, size: 'max' });
    await fc.assert(
      fc.asyncProperty(histories, fc.array(fc.nat(20), { maxLength: 6 }), async (history, cuts) => {
        const entries = logged(history);
        const oneByOne = await rowsAfter(entries.map((entry) => [entry]));
        assert.deepEqual(await rowsAfter([entries]), oneByOne);
        assert.deepEqual(await rowsAfter(cutUp(entries, cuts)), oneByOne);
      }),
      { numRuns: long ? 1_000 : 60 },
    );
  });
});

describe('whatever parses as an entry', () => {
  test('can be stored, beside any other', async () => {
    const ledger = new Ledger({
      store: postgresLedgerStore(pool),
      origin: 'sigilwatch.test/ledger',
      keys: testAuthor('collector').keys,
      clock: systemClock,
    });
    await ledger.start();
    const authors = ['node1', 'node2', `n${'x'.repeat(61)}n`].map(testAuthor);
    await fc.assert(
      fc.asyncProperty(fc.array(statements(), { minLength: 1, maxLength: 20, size: 'max' }), async (said) => {
        const offers = said.map((statement, i) => {
          const author = authors[i % authors.length];
          assert.ok(author);
          const signed = author.next(statement);
          return ledger.append([{ ...signed, entry: parseEntry(signed.bytes) }]);
        });
        await Promise.all(offers);
      }),
      { numRuns: long ? 500 : 60, endOnFailure: true },
    );
  });
});
