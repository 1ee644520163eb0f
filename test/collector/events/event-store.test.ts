import { eventStoreContract } from '../../contract/event-store.ts';
import { memoryEvents } from '../../fakes/event-store.ts';

eventStoreContract('in memory', async () => {
  const store = memoryEvents();
  return { store, append: async (entries) => store.append(entries) };
});
