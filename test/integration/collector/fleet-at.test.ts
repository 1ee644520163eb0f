import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { fleetAt } from '../../../collector/ledger/fleet-at.ts';
import type { FleetNode, FleetPage } from '../../../collector/ledger/fleet-view.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { rebuildTo } from '../../../collector/ledger/replay.ts';
import { atOneMoment, fleetView } from '../../../collector/postgres/history-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { connectClient, createPool, type Db } from '../../../collector/postgres/pool.ts';
import { replaySpace } from '../../../collector/postgres/replay-store.ts';
import { collectorKeys, startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { anyHistory, narrator } from './histories.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';

let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});

const everything: FleetPage = { after: undefined, limit: 100, node: undefined };

interface Fresh {
  readonly url: string;
  readonly pool: Db;
  readonly ledger: Ledger;
}

async function withLedger(work: (fresh: Fresh) => Promise<void>): Promise<void> {
  const url = await postgres.migratedDatabase();
  const pool = createPool({ url, applicationName: 'test', maxConnections: 3, onIdleError: () => {} });
  try {
    await work({ url, pool, ledger: await startLedger(postgresLedgerStore(pool)) });
  } finally {
    await pool.end();
  }
}

/** All projections rebuilt as of that size, and the fleet of the present read from them. */
async function oracle(url: string, size: number): Promise<readonly FleetNode[]> {
  const tx = await connectClient({ url, applicationName: 'test' });
  try {
    await tx.query('begin');
    const space = await replaySpace(tx);
    await rebuildTo(space, size, { collectorKey: collectorKeys.publicKey });
    return await fleetView(tx).present(everything);
  } finally {
    await tx.end();
  }
}

function past(pool: Db, size: number): Promise<readonly FleetNode[]> {
  return atOneMoment(pool, (view) => fleetAt(view, size, everything, collectorKeys.publicKey));
}

/** Without the order of members, which is the database's for the present and the author's for the past. */
function plain(nodes: readonly FleetNode[]): unknown {
  return JSON.parse(JSON.stringify(nodes));
}

describe('the fleet at a moment', () => {
  test('is what replaying the ledger up to there gives, whatever was said before and since', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyHistory({ minLength: 20, maxLength: long ? 150 : 70 }),
        fc.array(fc.noBias(fc.nat(1e6)), { minLength: 4, maxLength: 4 }),
        (history, choices) =>
          withLedger(async ({ url, pool, ledger }) => {
            await narrator(ledger).tell(history);
            const { size: head } = await ledger.checkpoint();
            for (const choice of [...choices, head - 1]) {
              const size = 1 + (choice % head);
              assert.deepEqual(
                plain(await past(pool, size)),
                plain(await oracle(url, size)),
                `size ${size} of ${head}`,
              );
            }
          }),
      ),
      { numRuns: long ? 150 : 10, endOnFailure: true },
    );
  });
});
