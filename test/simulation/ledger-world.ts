import assert from 'node:assert/strict';
import { Ledger } from '../../collector/ledger/ledger.ts';
import type { PublishedCheckpoint } from '../../collector/ledger/publisher.ts';
import { genesis, headAfter, leafData, parseEntry, type SignedEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { verifyBytes } from '../../common/keys.ts';
import { appendLeaves, emptyRange, leafHash, rootOf } from '../../common/merkle.ts';
import { cleared, type TestAuthor, testAuthor } from '../authors.ts';
import { FakeLedgerStore } from '../fakes/ledger-store.ts';
import { assertOneHistory, collectorKeys, stoppedClock, testOrigin } from '../ledgers.ts';

/** An author, what he has not been answered for, and what he has. */
interface Speaker {
  readonly author: TestAuthor;
  pending: SignedEntry[];
  readonly acknowledged: { readonly signed: SignedEntry; readonly index: number }[];
}

/** Several authors and collectors around one database that fails. */
export class LedgerWorld {
  readonly store: FakeLedgerStore;
  readonly published: PublishedCheckpoint[] = [];
  readonly #speakers: Speaker[] = ['node1', 'node2', 'node3'].map((name) => ({
    author: testAuthor(name),
    pending: [],
    acknowledged: [],
  }));
  readonly #collectors: Ledger[];
  /** Collectors that were killed from outside but whose last transactions may still arrive. */
  readonly #dying: Promise<unknown>[] = [];

  constructor(collectors: number, pause: () => Promise<void>) {
    this.store = new FakeLedgerStore({ pause });
    this.#collectors = Array.from({ length: collectors }, () => this.#newLedger());
  }

  /** The author says `count` new things and offers all that is not acknowledged, as an agent does. */
  async offer(who: number, where: number, count: number): Promise<void> {
    const speaker = this.#speaker(who);
    speaker.pending.push(...speaker.author.more(count));
    const offered = [...speaker.pending];
    const places = await this.#atCollector(where, (ledger) => ledger.append(offered));
    if (places === undefined) return;
    for (const [at, signed] of offered.entries()) {
      const index = places[at]?.index;
      assert.ok(index !== undefined);
      speaker.acknowledged.push({ signed, index });
    }
    speaker.pending = speaker.pending.filter((signed) => !offered.includes(signed));
  }

  /** Offers entries that were acknowledged long ago once more. */
  async offerAgain(who: number, where: number): Promise<void> {
    const { acknowledged } = this.#speaker(who);
    const some = acknowledged.slice(0, 5);
    const places = await this.#atCollector(where, (ledger) => ledger.append(some.map(({ signed }) => signed)));
    if (places !== undefined)
      assert.deepEqual(
        places.map(({ index }) => index),
        some.map(({ index }) => index),
      );
  }

  /** Offers another entry under a number that is acknowledged. */
  async equivocate(who: number, where: number): Promise<void> {
    const { author, acknowledged } = this.#speaker(who);
    if (acknowledged.length === 0) return;
    const forged = testAuthor(author.name).next(cleared('forged'));
    const outcome = await this.#atCollector(where, (ledger) =>
      ledger.append([forged]).catch((thrown) => {
        if (thrown instanceof AppError && thrown.code === 'ledger.equivocation') return 'refused';
        throw thrown;
      }),
    );
    assert.ok(outcome === undefined || outcome === 'refused');
  }

  async publish(where: number): Promise<void> {
    const checkpoint = await this.#atCollector(where, (ledger) => ledger.checkpoint());
    if (checkpoint !== undefined) this.published.push(checkpoint);
  }

  /** Kills a collector in the middle of an append; what it was doing may or may not happen. */
  crash(who: number, where: number): void {
    const { author, pending } = this.#speaker(who);
    pending.push(...author.more(1));
    const offered = [...pending];
    const dying = this.#atCollector(where, (ledger) => ledger.append(offered));
    dying.catch(() => {});
    this.#dying.push(dying);
    this.#collectors[where % this.#collectors.length] = this.#newLedger();
  }

  /** Lets everything come to rest, has all that is pending acknowledged, and looks at every promise. */
  async audit(): Promise<void> {
    this.store.faults = [];
    this.store.failingReads = 0;
    await Promise.all(this.#dying);
    for (const who of this.#speakers.keys()) await this.offer(who, who, 1);
    const auditor = this.#newLedger();
    await auditor.start();
    this.published.push(await auditor.checkpoint());
    this.#auditEntries();
    for (const speaker of this.#speakers) this.#auditSpeaker(speaker);
    const leaves = this.store.entries.map(({ bytes, signature }) => leafHash(bytes, signature));
    assert.deepEqual(this.published.at(-1)?.root, rootOf(appendLeaves(emptyRange, leaves)));
    await assertOneHistory(auditor, this.published);
  }

  #auditEntries(): void {
    const heads = new Map<string, typeof genesis>();
    for (const [at, { entry, bytes, signature, index }] of this.store.entries.entries()) {
      const head = heads.get(entry.author) ?? genesis;
      assert.equal(index, at);
      assert.equal(entry.seq, head.seq + 1);
      assert.equal(entry.prev, head.hash);
      assert.deepEqual(parseEntry(bytes), entry);
      assert.ok(verifyBytes(testAuthor(entry.author).keys.publicKey, bytes, signature));
      heads.set(entry.author, headAfter({ entry, bytes }));
    }
    const created = this.store.entries.filter(({ entry }) => entry.kind === 'ledger.created');
    assert.deepEqual(
      created.map(({ index }) => index),
      [0],
    );
  }

  #auditSpeaker({ author, pending, acknowledged }: Speaker): void {
    assert.deepEqual(pending, []);
    const seqs = acknowledged.map(({ signed }) => signed.entry.seq);
    assert.deepEqual(
      seqs,
      Array.from({ length: author.head.seq }, (_, i) => i + 1),
    );
    for (const { signed, index } of acknowledged) {
      const stored = this.store.entries[index];
      assert.ok(stored);
      assert.deepEqual(leafData(stored), leafData(signed));
    }
  }

  /** Starts the collector when it is not yet; undefined when the database failed, which is the one excuse there is. */
  async #atCollector<T>(where: number, call: (ledger: Ledger) => Promise<T>): Promise<T | undefined> {
    const ledger = this.#ledger(where);
    try {
      await ledger.start();
      return await call(ledger);
    } catch (thrown) {
      if (thrown instanceof AppError && thrown.code === 'database.unreachable') return undefined;
      throw thrown;
    }
  }

  #newLedger(): Ledger {
    return new Ledger({ store: this.store, origin: testOrigin, keys: collectorKeys, clock: stoppedClock });
  }

  #ledger(where: number): Ledger {
    const ledger = this.#collectors[where % this.#collectors.length];
    assert.ok(ledger);
    return ledger;
  }

  #speaker(who: number): Speaker {
    const speaker = this.#speakers[who % this.#speakers.length];
    assert.ok(speaker);
    return speaker;
  }
}
