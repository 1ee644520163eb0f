import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { postgresEventStore } from '../../../collector/postgres/event-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { SignedEntry } from '../../../common/entry.ts';
import { orderHash } from '../../../common/order.ts';
import { firstEntryMs } from '../../authors.ts';
import { eventStoreContract } from '../../contract/event-store.ts';
import { startLedger } from '../../ledgers.ts';
import { orderOf } from '../../orders.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';

let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});

async function openStore() {
  const db = postgres.pool(await postgres.migratedDatabase());
  return { db, store: postgresEventStore(db), ledger: await startLedger(postgresLedgerStore(db)) };
}

eventStoreContract('PostgreSQL', async () => {
  const { store, ledger } = await openStore();
  return {
    store,
    append: async (entries) => {
      for (const author of runsOfAuthors(entries)) await ledger.append(author);
    },
  };
});

test('an order is found by its hash, with the node it is for', async () => {
  const { store, ledger } = await openStore();
  const order = orderOf({ node: 'lyra', issuedMs: firstEntryMs });
  await ledger.record({ kind: 'order.issued', body: { order } });
  assert.deepEqual(
    await store.nodesOfOrders([orderHash(order), 'f'.repeat(64)]),
    new Map([[orderHash(order), 'lyra']]),
  );
});

/** What one author says without another in between. */
function runsOfAuthors(entries: readonly SignedEntry[]): SignedEntry[][] {
  return entries.reduce<SignedEntry[][]>((runs, signed) => {
    const last = runs.at(-1);
    if (last?.[0]?.entry.author === signed.entry.author) last.push(signed);
    else runs.push([signed]);
    return runs;
  }, []);
}
