import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Plan, signedBatch } from '../../collector/ledger/plan.ts';
import { project } from '../../collector/ledger/projections.ts';
import type { Commit, LedgerStore } from '../../collector/ledger/store.ts';
import { growTail, loadTail, type Tail } from '../../collector/ledger/tail.ts';
import { hashBytes } from '../../common/encoding.ts';
import { collectorAuthor, entryHash, genesis, leafData, type SignedEntry } from '../../common/entry.ts';
import { rawPublicKey } from '../../common/keys.ts';
import { emptyRange, leafHash, leafInputs, rootOf, splitHashes } from '../../common/merkle.ts';
import { fullTileWidth } from '../../common/tiles.ts';
import { cleared, firstEntryMs, quietMinute, type TestAuthor, testAuthor } from '../authors.ts';

const origin = 'sigilwatch.test/ledger';

/** A store without a tree head, seen by two collectors. */
export interface TestStore {
  readonly store: LedgerStore;
  readonly other: LedgerStore;
}

/** What every {@link LedgerStore} promises, on whatever it keeps things. */
export function ledgerStoreContract(name: string, open: () => Promise<TestStore>): void {
  const created = async (): Promise<TestStore> => {
    const stores = await open();
    await stores.store.create({ origin, range: emptyRange });
    return stores;
  };

  describe(`ledger store: ${name}`, () => {
    test('a tree head is created once and keeps its origin', async () => {
      const { store, other } = await open();
      assert.equal(await store.head(), undefined);
      await Promise.all([
        store.create({ origin, range: emptyRange }),
        other.create({ origin, range: emptyRange }),
        store.create({ origin, range: emptyRange }),
      ]);
      await other.create({ origin: 'another.test/ledger', range: emptyRange });
      assert.deepEqual(await store.head(), { origin, range: emptyRange });
    });

    test('what is committed is read by everybody, byte for byte', async () => {
      const { store, other } = await created();
      const author = testAuthor('node1');
      const entries = [...author.more(3), author.next({ kind: 'sigil.cleared', body: { store: 'ü\0😀', id: '"\\' } })];
      const commit = await layOut(store, entries);
      assert.equal(await store.commit(commit), true);
      assert.deepEqual(await other.head(), commit.to);
      assert.deepEqual(await other.authorHead('node1'), author.head);
      assert.deepEqual(await other.leaves(0, 4), entries.map(leafData));
      assert.deepEqual(splitHashes(await other.leafHashes(1, 3)), entries.slice(1, 3).map(leafHashOf));
      assert.deepEqual(
        await other.refs('node1', 2, 9),
        entries.slice(1).map(({ entry, bytes }) => ({
          author: 'node1',
          seq: entry.seq,
          index: entry.seq - 1,
          hash: entryHash(bytes),
        })),
      );
    });

    test('what one says again and again is read entry by entry, from and to anywhere', async () => {
      const { store, other } = await created();
      const [author, second] = [testAuthor('node1'), testAuthor('node2')];
      const minutes = (of: TestAuthor, count: number) =>
        Array.from({ length: count }, (_, n) => of.next(quietMinute(of.head.seq + n)));
      const groups = [
        [...minutes(author, 70), ...minutes(second, 3), author.next(cleared('x')), ...minutes(author, 40)],
        [...minutes(author, 5), ...minutes(second, 20)],
      ];
      for (const group of groups) assert.equal(await store.commit(await layOut(store, group)), true);
      const entries = groups.flat();
      const placed = entries.map(({ entry, bytes }, index) => {
        return { author: entry.author, seq: entry.seq, index, hash: entryHash(bytes) };
      });
      for (let from = 0; from <= entries.length; from += 7) {
        for (const to of [from, from + 1, from + 5, from + 33, 1_000]) {
          const asked = `${from} to ${to}`;
          assert.deepEqual(await other.leaves(from, to), entries.slice(from, to).map(leafData), asked);
          assert.deepEqual(
            splitHashes(await other.leafHashes(from, to)),
            entries.slice(from, to).map(leafHashOf),
            asked,
          );
          for (const { name } of [author, second]) {
            const refs = placed.filter((ref) => ref.author === name && ref.seq >= from && ref.seq <= to);
            assert.deepEqual(await other.refs(name, from, to), refs, `${name} ${asked}`);
          }
        }
      }
    });

    test('what does not exist is answered as nothing', async () => {
      const { store } = await created();
      await store.commit(await layOut(store, testAuthor('node1').more(2)));
      assert.deepEqual(await store.authorHead('node2'), genesis);
      assert.deepEqual(await store.refs('node2', 1, 5), []);
      assert.deepEqual(await store.refs('node1', 3, 5), []);
      assert.equal((await store.leafHashes(2, 9)).length, 0);
      assert.deepEqual(await store.leaves(7, 9), []);
      assert.deepEqual(await store.tiles([]), []);
      assert.deepEqual(await store.tiles([{ level: 0, index: 0 }]), [undefined]);
    });

    test('a node has the key of its last enrolment, and none once that is revoked', async () => {
      const { store, other } = await created();
      const [collector, keys] = [testAuthor('collector'), ['first', 'second'].map((name) => testAuthor(name).keys)];
      const raw = keys.map(({ publicKey }) => rawPublicKey(publicKey));
      const enrol = (publicKey: Buffer | undefined) =>
        collector.next({
          kind: 'node.enrolled',
          body: { node: 'node1', publicKey: publicKey?.toString('base64') ?? '', fingerprint: 'x', agentVersion: '1' },
        });
      const revoke = () =>
        collector.next({ kind: 'node.revoked', body: { node: 'node1', fingerprint: 'x', reason: 'x' } });
      const expected: [SignedEntry[], Buffer | undefined][] = [
        [[enrol(raw[0])], raw[0]],
        [[enrol(raw[1])], raw[1]],
        [[revoke()], undefined],
        [[enrol(raw[0]), revoke(), enrol(raw[1])], raw[1]],
      ];
      assert.equal(await other.nodeKey('node1'), undefined);
      for (const [entries, key] of expected) {
        await store.commit(await layOut(store, entries));
        assert.deepEqual(await other.nodeKey('node1'), key);
        const head = await other.authorHead(collectorAuthor);
        assert.deepEqual(
          await other.authors(['node1', collectorAuthor]),
          new Map([
            ['node1', { head: genesis, key }],
            [collectorAuthor, { head, key: undefined }],
          ]),
        );
      }
      assert.equal(await other.nodeKey('node2'), undefined);
    });

    test('full tiles are answered in the order asked for', async () => {
      const { store } = await created();
      const commit = await layOut(store, testAuthor('node1').more(3 * fullTileWidth + 7));
      await store.commit(commit);
      const [first, , third] = commit.tiles.map((tile) => tile.hashes);
      const asked = [2, 9, 0, 2].map((index) => ({ level: 0, index }));
      assert.deepEqual(await store.tiles(asked), [third, undefined, first, third]);
      assert.equal(third?.length, fullTileWidth * hashBytes);
    });

    test('a commit from an old tree head is refused and writes nothing', async () => {
      const { store, other } = await created();
      const [winner, loser] = [
        await layOut(store, testAuthor('node1').more(2)),
        await layOut(other, testAuthor('node2').more(3)),
      ];
      assert.equal(await store.commit(winner), true);
      const before = await everything(store);
      assert.equal(await other.commit(loser), false);
      assert.deepEqual(await everything(store), before);
    });

    test('of many commits from one tree head exactly one is taken', async () => {
      const { store, other } = await created();
      const names = ['node1', 'node2', 'node3', 'node4', 'node5', 'node6'];
      const commits = await Promise.all(names.map((author) => layOut(store, testAuthor(author).more(2))));
      const taken = await Promise.all(commits.map((commit, i) => (i % 2 === 0 ? store : other).commit(commit)));
      assert.equal(taken.filter(Boolean).length, 1);
      const winner = commits[taken.indexOf(true)];
      assert.deepEqual(await store.head(), winner?.to);
      assert.equal((await store.leaves(0, 20)).length, 2);
    });

    test('commits laid out on each other are all taken though nobody waits for the one before', async () => {
      const { store, other } = await created();
      const author = testAuthor('node1');
      const start = await store.head();
      assert.ok(start);
      let tail = await loadTail(store, start);
      const commits = [3, 300, 1, 40].map((count) => {
        const grown = planOn(tail, author.more(count));
        tail = grown.tail;
        return grown.commit;
      });
      const taken = await Promise.all(commits.map((commit) => store.commit(commit)));
      assert.deepEqual(taken, [true, true, true, true]);
      assert.deepEqual(await other.head(), tail.head);
      assert.deepEqual(await other.authorHead('node1'), author.head);
      assert.deepEqual(await loadTail(other, tail.head), tail);
    });

    test('a commit laid out on one that is not taken is not taken either', async () => {
      const { store, other } = await created();
      const start = await store.head();
      assert.ok(start);
      const first = planOn(await loadTail(store, start), testAuthor('node1').more(2));
      const second = planOn(first.tail, testAuthor('node2').more(2));
      // As large as the first, and another tree.
      const rival = await layOut(other, testAuthor('node3').more(2));
      assert.equal(await other.commit(rival), true);
      assert.deepEqual(await Promise.all([store.commit(first.commit), store.commit(second.commit)]), [false, false]);
      const [entry] = first.commit.entries;
      assert.ok(entry);
      const fresh = await loadTail(store, rival.to);
      const broken = planOn(fresh, testAuthor('node1').more(2));
      const doubled = { ...broken.commit, entries: [entry, ...broken.commit.entries.slice(1)] };
      const after = planOn(broken.tail, testAuthor('node2').more(2));
      const [refused, later] = await Promise.allSettled([store.commit(doubled), store.commit(after.commit)]);
      assert.equal(refused.status, 'rejected');
      assert.deepEqual(later, { status: 'fulfilled', value: false });
      assert.deepEqual(await store.head(), rival.to);
      assert.equal(await store.commit(broken.commit), true);
    });

    test('who has the store to himself cannot lose the tree head to anybody', async () => {
      const { store, other } = await created();
      const late = await layOut(other, testAuthor('node2').more(2));
      let lost: Promise<boolean> | undefined;
      const taken = await store.exclusively(async (own) => {
        lost = other.commit(late);
        // Long enough for the other one to get ahead, if it could.
        for (let i = 0; i < 20; i++) await own.head();
        return own.commit(await layOut(own, testAuthor('node1').more(2)));
      });
      assert.deepEqual([taken, await lost], [true, false]);
      assert.equal((await store.authorHead('node1')).seq, 2);
      assert.equal((await store.authorHead('node2')).seq, 0);
    });

    test('a commit that cannot be written as a whole is not written at all', async () => {
      const { store } = await created();
      const author = testAuthor('node1');
      await store.commit(await layOut(store, author.more(2)));
      const before = await everything(store);
      const commit = await layOut(store, testAuthor('node2').more(3));
      const [first, second] = commit.entries;
      assert.ok(first && second);
      const doubled = { ...second, entry: first.entry };
      await assert.rejects(store.commit({ ...commit, entries: [first, doubled, ...commit.entries.slice(2)] }));
      assert.deepEqual(await everything(store), before);
      assert.equal(await store.commit(commit), true);
    });

    test('the tail read back after a restart is the one that was grown', async () => {
      const { store, other } = await created();
      const author = testAuthor('node1');
      let tail: Tail = { head: { origin, range: emptyRange }, partial: [] };
      for (const count of [1, fullTileWidth - 2, 1, 1, 300, 2 * fullTileWidth]) {
        const commit = await layOut(store, author.more(count));
        await store.commit(commit);
        tail = growTail(
          tail,
          commit.entries.map((entry) => entry.leafHash),
        ).tail;
        assert.deepEqual(await loadTail(other, commit.to), tail);
      }
    });
  });
}

/** The commit that appends the entries after what is stored. */
async function layOut(store: LedgerStore, entries: readonly SignedEntry[]): Promise<Commit> {
  const head = await store.head();
  assert.ok(head);
  const plan = new Plan(store, await loadTail(store, head));
  for (const ofOne of byAuthor(entries)) await plan.append(ofOne);
  return plan.commit({ privateKey: testAuthor('collector').keys.privateKey, now: firstEntryMs }).commit;
}

/** Cut where another author goes on. */
function byAuthor(entries: readonly SignedEntry[]): SignedEntry[][] {
  const parts: SignedEntry[][] = [];
  for (const entry of entries) {
    const last = parts.at(-1);
    if (last?.[0]?.entry.author === entry.entry.author) last.push(entry);
    else parts.push([entry]);
  }
  return parts;
}

/** The commit that appends an author's first entries after `tail`, whatever the store holds, and the tail after it. */
function planOn(tail: Tail, entries: readonly SignedEntry[]): { commit: Commit; tail: Tail } {
  const { range } = tail.head;
  const leaves = leafInputs(entries.map(({ bytes, signature }) => [bytes, signature]));
  const staged = entries.map((signed, at) => ({
    ...signed,
    leaf: leaves[at] ?? assert.fail(),
    index: range.size + at,
    leafHash: leafHashOf(signed),
    hash: entryHash(signed.bytes),
  }));
  const grown = growTail(
    tail,
    staged.map((entry) => entry.leafHash),
  );
  const by = { privateKey: testAuthor('collector').keys.privateKey, now: firstEntryMs, from: range.size };
  const received = signedBatch(grown.tail.head, by);
  const to = grown.tail.head;
  const commit = { from: tail.head, to, entries: staged, tiles: grown.tiles, projections: project(staged), received };
  return { commit, tail: grown.tail };
}

function leafHashOf({ bytes, signature }: SignedEntry): Buffer {
  return leafHash(bytes, signature);
}

async function everything(store: LedgerStore) {
  const head = await store.head();
  assert.ok(head);
  return {
    root: rootOf(head.range),
    leaves: await store.leaves(0, 1_000),
    hashes: await store.leafHashes(0, 1_000),
    heads: await Promise.all(['node1', 'node2'].map((author) => store.authorHead(author))),
    refs: await Promise.all(['node1', 'node2'].map((author) => store.refs(author, 0, 1_000))),
    tiles: await store.tiles([0, 1, 2].map((index) => ({ level: 0, index }))),
  };
}
