import assert from 'node:assert/strict';
import type { KeyObject } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import type { PublishedCheckpoint } from '../../../collector/ledger/publisher.ts';
import type { SignedEntry } from '../../../common/entry.ts';
import { fingerprint, generateKeyPair, rawPublicKey } from '../../../common/keys.ts';
import type { Statement } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { leafHash } from '../../../common/merkle.ts';
import { expandProof, verifyInclusion } from '../../../common/proof.ts';
import { cleared, testAuthor } from '../../authors.ts';
import { FakeLedgerStore } from '../../fakes/ledger-store.ts';
import { assertOneHistory, collectorKeys, startLedger, stoppedClock, testOrigin } from '../../ledgers.ts';
import { unevenPause } from '../../uneven-pause.ts';

const unreachable = { code: 'database.unreachable', retryable: true };

/** Counts the commits that were tried. */
class CountingStore extends FakeLedgerStore {
  commits = 0;

  override commit(...args: Parameters<FakeLedgerStore['commit']>): Promise<boolean> {
    this.commits += 1;
    return super.commit(...args);
  }
}

/** Its last commit is stored at once and answered when the test says so. */
class SlowToAnswer extends FakeLedgerStore {
  treeReads = 0;
  answer: () => void = () => {};
  /** Resolves once a commit is stored, and the head was asked for after that. */
  readonly stored: Promise<void>;
  readonly asked: Promise<void>;
  #isStored: () => void = () => {};
  #isAsked: () => void = () => {};
  #slow = false;

  constructor() {
    super();
    this.stored = new Promise((resolve) => {
      this.#isStored = resolve;
    });
    this.asked = new Promise((resolve) => {
      this.#isAsked = resolve;
    });
  }

  override async commit(...args: Parameters<FakeLedgerStore['commit']>): Promise<boolean> {
    const moved = await super.commit(...args);
    if (args[0].entries.length > 1) return moved;
    if (args[0].from.range.size === 0) return moved;
    this.#slow = true;
    const answered = new Promise<void>((resolve) => {
      this.answer = resolve;
    });
    this.#isStored();
    await answered;
    return moved;
  }

  override async head() {
    const head = await super.head();
    if (this.#slow) this.#isAsked();
    return head;
  }

  override leafHashes(...args: Parameters<FakeLedgerStore['leafHashes']>) {
    this.treeReads += 1;
    return super.leafHashes(...args);
  }

  override tiles(...args: Parameters<FakeLedgerStore['tiles']>) {
    this.treeReads += 1;
    return super.tiles(...args);
  }
}

function enrolled(node: string, key: KeyObject): Statement {
  const publicKey = rawPublicKey(key).toString('base64');
  return { kind: 'node.enrolled', body: { node, publicKey, fingerprint: fingerprint(key), agentVersion: '1' } };
}

function outcomes(results: readonly PromiseSettledResult<unknown>[]): string[] {
  return results.map((result) => (result.status === 'fulfilled' ? 'taken' : String(result.reason.code)));
}

describe('a group of wishes', () => {
  test('is one commit, and every wish is granted or refused by itself', async () => {
    const store = new CountingStore();
    const ledger = await startLedger(store);
    const [one, two, three] = [testAuthor('node1'), testAuthor('node2'), testAuthor('node3')];
    const twin = testAuthor('node1');
    await ledger.append([one.next(cleared('first'))]);
    const gap = two.more(3).slice(2);
    store.commits = 0;
    const results = await Promise.allSettled([
      ledger.append(one.more(2)),
      ledger.append(gap),
      ledger.append([twin.next(cleared('another first'))]),
      ledger.append(three.more(1)),
      ledger.append(three.more(2)),
    ]);
    assert.deepEqual(outcomes(results), ['taken', 'ledger.sequence', 'ledger.equivocation', 'taken', 'taken']);
    // The second one is the evidence.
    assert.equal(store.commits, 2);
    assert.deepEqual(
      store.entries.slice(1).map(({ entry }) => `${entry.author}/${entry.seq}`),
      ['node1/1', 'node1/2', 'node1/3', 'node3/1', 'node3/2', 'node3/3', 'collector/2'],
    );
  });

  test('that comes twice at once gets one place', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const entries = testAuthor('node1').more(3);
    const places = await Promise.all([ledger.append(entries), ledger.append(entries), ledger.append(entries)]);
    assert.deepEqual(places, [places[0], places[0], places[0]]);
    assert.equal(store.entries.length, 4);
  });

  test('with one wish that the database cannot take keeps its neighbours', async () => {
    const store = new FakeLedgerStore();
    store.refuses = ({ entry }) => entry.author === 'node2';
    const ledger = await startLedger(store);
    const wishes = ['node1', 'node2', 'node3'].map((name) => ledger.append(testAuthor(name).more(2)));
    assert.deepEqual(outcomes(await Promise.allSettled(wishes)), ['taken', 'internal.error', 'taken']);
    assert.deepEqual(store.entries.map(({ entry }) => entry.author).sort(), [
      'collector',
      'node1',
      'node1',
      'node3',
      'node3',
    ]);
    store.refuses = () => false;
    assert.equal((await ledger.append(testAuthor('node2').more(2))).length, 2);
  });

  test('never places entries of a node behind the one that ended its key', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const [author, heir] = [testAuthor('node1'), generateKeyPair()];
    const key = author.keys.publicKey;
    await ledger.record(enrolled('node1', key));
    const [before, between, after] = [author.more(2), author.more(2), author.more(2)];
    const outcome = await Promise.allSettled([
      ledger.append(before, key),
      ledger.record(enrolled('node1', heir.publicKey)),
      ledger.append(between, key),
      ledger.append(before, key),
      ledger.record({ kind: 'node.revoked', body: { node: 'node1', fingerprint: 'x', reason: 'x' } }),
      ledger.append(between, heir.publicKey),
    ]);
    assert.deepEqual(outcomes(outcome), ['taken', 'taken', 'auth.revoked', 'taken', 'taken', 'auth.revoked']);
    await ledger.record(enrolled('node1', key));
    await assert.rejects(ledger.append(between, heir.publicKey), { code: 'auth.revoked', retryable: false });
    assert.equal((await ledger.append([...between, ...after], key)).length, 4);
  });

  test('is bounded in bytes, so that nobody waits for what a neighbour stuffed into few entries', async () => {
    const store = new CountingStore();
    const ledger = await startLedger(store);
    const text = 'x'.repeat(2_000);
    const stuffed: Statement = { kind: 'outbox.recovered', body: { reason: text, salvaged: 1, quarantine: text } };
    const perWish = 100;
    const wishes = ['node1', 'node2', 'node3', 'node4', 'node5', 'node6', 'node7', 'node8'].map((name) => {
      const author = testAuthor(name);
      return Array.from({ length: perWish }, () => author.next(stuffed));
    });
    const bytes = wishes.flat().reduce((sum, entry) => sum + entry.bytes.length, 0);
    assert.ok(wishes.flat().length < limits.groupCommitMaxEntries && bytes > limits.groupCommitMaxBytes);
    store.commits = 0;
    await Promise.all(wishes.map((entries) => ledger.append(entries)));
    assert.equal(store.commits, Math.ceil(bytes / limits.groupCommitMaxBytes));
  });

  test('that is larger than a group is taken all the same', async () => {
    const ledger = await startLedger(new FakeLedgerStore());
    const places = await ledger.append(testAuthor('node1').more(limits.groupCommitMaxEntries + 200));
    assert.equal(places.at(-1)?.index, limits.groupCommitMaxEntries + 200);
  });
});

describe('a large group', () => {
  test('lets the process deal with other things now and then, but not while it keeps others from the log', async () => {
    const rival = testAuthor('rival');
    const store: FakeLedgerStore = new FakeLedgerStore({
      intrude: async () => {
        await (await startLedger(store)).append(rival.more(1));
      },
    });
    let pauses = 0;
    const wait = async (ms: number): Promise<void> => {
      if (ms === 0) pauses += 1;
      await new Promise(setImmediate);
    };
    const ledger = new Ledger({ store, origin: testOrigin, keys: collectorKeys, clock: stoppedClock, wait });
    await ledger.start();
    const wishes = limits.layOutMaxEntries * 2 + 10;
    const offer = (of: string) =>
      Promise.all(Array.from({ length: wishes }, (_, at) => ledger.append(testAuthor(`${of}${at}`).more(1))));
    await offer('a');
    assert.equal(pauses, 2);
    pauses = 0;
    store.faults = ['head moved'];
    await offer('b');
    assert.equal(pauses, 2, 'only while it was laid out for the first time');
    assert.equal(store.entries.length, 2 * wishes + 2);
  });
});

describe('a database that fails', () => {
  test('before it wrote: nothing is there, and offering again places it', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const entries = testAuthor('node1').more(3);
    store.faults = ['failed', 'failed'];
    for (let i = 0; i < 2; i++) await assert.rejects(ledger.append(entries), unreachable);
    assert.equal(store.entries.length, 1);
    assert.equal((await ledger.checkpoint()).size, 1);
    assert.deepEqual(
      (await ledger.append(entries)).map(({ index }) => index),
      [1, 2, 3],
    );
  });

  test('after it wrote: offering again finds the entries where they are', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const entries = testAuthor('node1').more(3);
    store.faults = ['reply lost'];
    await assert.rejects(ledger.append(entries), unreachable);
    assert.equal((await ledger.checkpoint()).size, 4);
    assert.deepEqual(
      (await ledger.append(entries)).map(({ index }) => index),
      [1, 2, 3],
    );
    assert.equal(store.entries.length, 4);
  });

  test('when it is read refuses nothing for good', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const author = testAuthor('node1');
    await ledger.append(author.more(3));
    for (let reads = 1; reads <= 6; reads++) {
      const restarted = await startLedger(store);
      store.failingReads = reads;
      const entries = author.more(2);
      let failures = 0;
      const offer = (): Promise<unknown> =>
        restarted.append(entries).catch((thrown) => {
          assert.equal(thrown.code, 'database.unreachable');
          failures += 1;
          return offer();
        });
      await offer();
      assert.ok(failures <= reads);
      store.failingReads = 0;
    }
    assert.equal(store.entries.length, 16);
  });
});

describe('the end of the log', () => {
  test('is not read back because a commit from here is stored before its answer is here', async () => {
    const store = new SlowToAnswer();
    const ledger = await startLedger(store);
    const author = testAuthor('node1');
    await ledger.append(author.more(300));
    const before = store.treeReads;
    const appending = ledger.append(author.more(1));
    await store.stored;
    const published = ledger.checkpoint();
    await store.asked;
    store.answer();
    assert.equal((await published).size, 302);
    await appending;
    assert.equal(store.treeReads, before);
  });
});

describe('a collector beside another one', () => {
  test('lays its group out again when the tree head has moved', async () => {
    const rival = testAuthor('node9');
    const store: FakeLedgerStore = new FakeLedgerStore({
      intrude: async () => {
        await other.append(rival.more(2));
      },
    });
    const [ledger, other] = [await startLedger(store), await startLedger(store)];
    store.faults = ['head moved', undefined, 'head moved'];
    const author = testAuthor('node1');
    assert.deepEqual(
      (await ledger.append(author.more(2))).map(({ index }) => index),
      [3, 4],
    );
    assert.deepEqual(
      (await ledger.append(author.more(1))).map(({ index }) => index),
      [7],
    );
  });

  test('never refuses because of what it remembers', async () => {
    const store = new FakeLedgerStore();
    const [here, there] = [await startLedger(store), await startLedger(store)];
    const author = testAuthor('node1');
    const [first, moved, last] = [author.more(3), author.more(2), author.more(1)];
    await here.append(first);
    await there.append(moved);
    // Here the chain is still thought to stand at 3.
    assert.equal((await here.append(last))[0]?.index, 6);
    assert.deepEqual(
      (await there.append([...moved, ...last])).map(({ index }) => index),
      [4, 5, 6],
    );
    assert.deepEqual(
      (await here.append(moved)).map(({ index }) => index),
      [4, 5],
    );
    const twin = testAuthor('node1');
    twin.more(3);
    const forged = twin.next(cleared('forged'));
    for (const ledger of [here, there]) await assert.rejects(ledger.append([forged]), { code: 'ledger.equivocation' });
  });

  test('takes nothing under a key that the other one has ended', async () => {
    const store = new FakeLedgerStore();
    const [here, there] = [await startLedger(store), await startLedger(store)];
    const author = testAuthor('node1');
    const key = author.keys.publicKey;
    await here.record(enrolled('node1', key));
    await here.append(author.more(2), key);
    await there.record({ kind: 'node.revoked', body: { node: 'node1', fingerprint: 'x', reason: 'x' } });
    // Here the key is still thought to be in force.
    await assert.rejects(here.append(author.more(2), key), { code: 'auth.revoked' });
    assert.equal(store.entries.at(-1)?.entry.kind, 'node.revoked');
  });

  test('that never rests gets its turn and leaves the other one its own', async () => {
    const store = new FakeLedgerStore({ pause: () => new Promise(setImmediate) });
    const [busy, slow] = [await startLedger(store), await startLedger(store)];
    const restless = testAuthor('node1');
    let over = false;
    const work = (async () => {
      while (!over) await busy.append(restless.more(1));
    })();
    const author = testAuthor('node2');
    for (let i = 0; i < 20; i++) assert.equal((await slow.append(author.more(1))).length, 1);
    over = true;
    await work;
  });

  test('never forks the log, whatever the interleaving, and proves at once what it has taken', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 2, max: 3 }), async (seed, collectors) => {
        const store = new FakeLedgerStore({ pause: unevenPause(seed) });
        const ledgers = await Promise.all(Array.from({ length: collectors }, () => startLedger(store)));
        const authors = ['node1', 'node2', 'node3', 'node4'].map(testAuthor);
        const published: PublishedCheckpoint[] = [];
        const runs = authors.map(async (author, at) => {
          for (let round = 0; round < 4; round++) {
            const ledger = ledgers[(at + round) % collectors];
            assert.ok(ledger);
            const entries = author.more(1 + (round % 2));
            const places = await ledger.append(entries);
            published.push(
              await assertProved(
                ledger,
                entries,
                places.map(({ index }) => index),
              ),
            );
          }
        });
        await Promise.all(runs);
        const [auditor] = ledgers;
        assert.ok(auditor);
        await assertOneHistory(auditor, published);
        assert.deepEqual(
          store.entries.map(({ index }) => index),
          [...store.entries.keys()],
        );
        assert.equal(store.entries.length, 1 + authors.length * 6);
      }),
      { numRuns: 40 },
    );
  });
});

describe('the line', () => {
  test('turns away what does not fit, to be offered later', async () => {
    const ledger = await startLedger(new FakeLedgerStore());
    const author = testAuthor('node1');
    const first = author.next(cleared('first'));
    const many = Array.from({ length: limits.sequencerQueueMaxEntries - 2 }, () => first);
    const results = Promise.allSettled([ledger.append([first]), ledger.append(many), ledger.append(author.more(2))]);
    assert.equal(ledger.queuedEntries, limits.sequencerQueueMaxEntries - 1);
    assert.deepEqual(outcomes(await results), ['taken', 'ledger.sequence', 'state.busy']);
    assert.equal(ledger.queuedEntries, 0);
  });

  test('serves a wish however soon after an answer it comes', async () => {
    const ledger = await startLedger(new FakeLedgerStore());
    const author = testAuthor('node1');
    for (let turns = 0; turns < 30; turns++) {
      await ledger.append(author.more(1));
      for (let i = 0; i < turns; i++) await Promise.resolve();
      await ledger.append(author.more(1));
    }
    assert.equal((await ledger.checkpoint()).size, 61);
  });

  test('is served before closing, and nothing after', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const taken = ledger.append(testAuthor('node1').more(2));
    await ledger.close();
    assert.equal(store.entries.length, 3);
    await taken;
    await assert.rejects(ledger.append(testAuthor('node2').more(1)), { code: 'state.busy', retryable: true });
  });
});

/** What an ack promises: a checkpoint that covers the places, and proofs in it. */
async function assertProved(ledger: Ledger, entries: readonly SignedEntry[], indexes: readonly number[]) {
  const checkpoint = await ledger.checkpoint();
  const { size, root } = checkpoint;
  const shared = await ledger.inclusion(indexes, size);
  for (const [which, index] of indexes.entries()) {
    const entry = entries[which];
    assert.ok(entry);
    const proof = expandProof(shared, which);
    verifyInclusion({ leafHash: leafHash(entry.bytes, entry.signature), index, size, root, proof });
  }
  return checkpoint;
}
