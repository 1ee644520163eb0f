import { ledgerStoreContract } from '../../contract/ledger-store.ts';
import { FakeLedgerStore } from '../../fakes/ledger-store.ts';

ledgerStoreContract('in memory', async () => {
  const store = new FakeLedgerStore();
  return { store, other: store };
});
