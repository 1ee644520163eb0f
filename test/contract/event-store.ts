import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EventStore, Stretch } from '../../collector/events/ports.ts';
import { entryHash, type SignedEntry } from '../../common/entry.ts';
import { limits } from '../../common/limits.ts';
import { largeStatement, testAuthor } from '../authors.ts';

/** A store, and the way into it. */
export interface TestEvents {
  readonly store: EventStore;
  append(entries: readonly SignedEntry[]): Promise<void>;
}

/** What every {@link EventStore} promises. */
export function eventStoreContract(name: string, open: () => Promise<TestEvents>): void {
  const all = { to: undefined, kinds: undefined, authors: undefined };
  const read = async (store: EventStore, stretch: Stretch) => {
    const { events, next } = await store.page(stretch);
    return { indexes: events.map(({ index }) => index), next };
  };

  describe(`event store: ${name}`, () => {
    test('what was appended is read in the order of its indexes, byte for byte', async () => {
      const { store, append } = await open();
      const from = await store.size();
      const entries = testAuthor('node1').more(3);
      await append(entries);
      assert.equal(await store.size(), from + 3);
      const page = await store.page({ ...all, from });
      assert.deepEqual(
        page.events.map(({ bytes }) => bytes),
        entries.map(({ bytes }) => bytes),
      );
      assert.deepEqual(
        page.events.map(({ entry_hash }) => entry_hash.toString('hex')),
        entries.map(({ bytes }) => entryHash(bytes)),
      );
      assert.deepEqual(
        page.events.map(({ index, author, seq, kind }) => [index, author, seq, kind]),
        entries.map(({ entry }, i) => [from + i, 'node1', entry.seq, entry.kind]),
      );
      assert.ok(page.events.every(({ received_at }) => received_at instanceof Date));
      assert.equal(page.next, from + 3);
    });

    test('the end of the ledger is nowhere beyond it', async () => {
      const { store } = await open();
      const end = await store.size();
      assert.deepEqual(await read(store, { ...all, from: end }), { indexes: [], next: end });
    });

    test('a stretch of other kinds and authors is passed over as a whole', async () => {
      const { store, append } = await open();
      const from = await store.size();
      const [one, two] = [testAuthor('node1'), testAuthor('node2')];
      const found = { kind: 'drift.resolved', body: { id: 'drift-1', commit: null } } as const;
      await append([...one.more(2), two.next(found), ...two.more(1), one.next(found)]);
      const to = from + 5;
      assert.deepEqual(await read(store, { from, to, kinds: ['drift.resolved'], authors: undefined }), {
        indexes: [from + 2, from + 4],
        next: to,
      });
      assert.deepEqual(await read(store, { from, to, kinds: ['drift.resolved'], authors: ['node1'] }), {
        indexes: [from + 4],
        next: to,
      });
      assert.deepEqual(await read(store, { from, to: to - 1, kinds: undefined, authors: ['node3'] }), {
        indexes: [],
        next: to - 1,
      });
    });

    test('pages end after so many entries, or with the one that is too much, and go on without a gap', async () => {
      const { store, append } = await open();
      const from = await store.size();
      const author = testAuthor('node1');
      await append(author.more(limits.eventPageEntries + 1));
      await append(Array.from({ length: 20 }, () => author.next(largeStatement)));
      const to = await store.size();
      const seen: number[] = [];
      const sizes: number[] = [];
      for (let next = from; next < to; ) {
        const page = await store.page({ ...all, from: next, to });
        seen.push(...page.events.map(({ index }) => index));
        sizes.push(page.events.reduce((sum, { bytes }) => sum + (bytes?.length ?? 0), 0));
        assert.ok(page.next > next, 'it goes on');
        next = page.next;
      }
      assert.deepEqual(
        seen,
        Array.from({ length: to - from }, (_, i) => from + i),
      );
      assert.ok(sizes.length > 2);
      assert.ok(sizes.every((bytes) => bytes < limits.eventPageBytes + limits.maxEntryBytes));
    });
  });
}
