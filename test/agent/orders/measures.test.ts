import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { createWitness } from '../../../agent/link/witness.ts';
import type { OrderDeskOptions } from '../../../agent/orders/desk.ts';
import { MeasureBook, type MeasureWord } from '../../../agent/orders/measure-book.ts';
import { changeOf, type MeasureRecord, readMeasure, type ToldMeasure } from '../../../agent/orders/measure-records.ts';
import type { Drift } from '../../../common/drift.ts';
import { announcementText } from '../../../common/enforcement/announcement.ts';
import { sealEntry } from '../../../common/entry.ts';
import { toAppError } from '../../../common/errors.ts';
import type { Body, Statement } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { parseVerifierKey } from '../../../common/note.ts';
import { type Order, orderHash } from '../../../common/order.ts';
import { collectorMessage, toWire } from '../../../common/protocol.ts';
import { type TestAuthor, testAuthor } from '../../authors.ts';
import { commit, nowMs, orderFor, policyOf, rogue, targetId } from '../../common/enforcement/ground.ts';
import { type FakeJournal, fakeJournal } from '../../fakes/journal.ts';
import { memoryLedger } from '../../fakes/ledger.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { deskGround, seen, tellAll } from './ground.ts';

const seed = Number(process.env.SIGILWATCH_TEST_SEED ?? Date.now() % 1_000_000);
const other = 'd'.repeat(40);
const hourMs = 3_600_000;
const later = (ms: number) => new Date(nowMs + ms).toISOString();
const idOf = (name: string) => Buffer.from(name).toString('hex').padEnd(64, '0');
const [actor, reason] = ['operator', 'a test'];

const frozen = (index: number, of = commit): ToldMeasure => ({
  ...{ index, order: undefined },
  said: { kind: 'enforcement.frozen', body: { commit: of, drift: 'IMAGE_DRIFT', nodes: ['node1'], reason } },
});
const released = (index: number, of = commit): ToldMeasure => ({
  ...{ index, order: undefined },
  said: { kind: 'enforcement.released', body: { commit: of, actor, reason } },
});
const anyDrift = { node: null, container: null, kind: null };
type Scope = Body<'drift.silenced'>['scope'];
const silenced = (index: number, name: string, scope: Partial<Scope> = {}): ToldMeasure => {
  const body = { id: idOf(name), scope: { ...anyDrift, ...scope }, until: later(hourMs), actor, reason };
  return { index, order: undefined, said: { kind: 'drift.silenced', body } };
};
const unsilenced = (index: number, name: string): ToldMeasure => ({
  ...{ index, order: undefined },
  said: { kind: 'drift.unsilenced', body: { id: idOf(name), actor, reason } },
});
const announced = (index: number, container: string, image: string, node: string | null = null): ToldMeasure => {
  const text = announcementText({ node, container, image, until: later(hourMs) });
  const approval = { approver: 'ada', signature: 'not looked at' };
  return { index, order: undefined, said: { kind: 'change.announced', body: { text, approval } } };
};
const rejected = (index: number, order: Order): ToldMeasure => ({
  ...{ index, order },
  said: { kind: 'order.rejected', body: { order: orderHash(order), actor, reason } },
});
const told = (measure: ToldMeasure): MeasureWord => ({ type: 'told', measure });

const alone = 'governance: {when_offline: local, offline_after: 10m, settling_time: 0}\n';
const killed = [`kill ${targetId}`, `remove ${targetId}`];

/** A node that has been cut off for an hour, and was told this before. */
async function acting(words: readonly MeasureWord[], others: Partial<OrderDeskOptions> = {}) {
  const adopted = () => ({ commit, policy: policyOf(alone), containers: [] });
  const ground = deskGround({ adopted, cutOffMs: () => hourMs, ...others });
  const desk = await ground.open();
  tellAll(desk);
  for (const word of words) desk.measures.take(word);
  desk.compared();
  await desk.settled();
  return { ...ground, desk };
}
const pulledAfter = async (...measures: readonly ToldMeasure[]) => (await acting(measures.map(told))).pulled;

describe('a node that decides alone is held back', () => {
  test('by nothing when it was told nothing', async () => {
    assert.deepEqual(await pulledAfter(), killed);
  });

  test('by a freeze of its commit until it is released, and not by that of another one', async () => {
    assert.deepEqual(await pulledAfter(frozen(5)), []);
    assert.deepEqual(await pulledAfter(frozen(5, other)), killed);
    assert.deepEqual(await pulledAfter(frozen(5), released(6)), killed);
  });

  test('by a silence about the drift until it ends, and not by one about another node, container or kind', async () => {
    const about: readonly Partial<Scope>[] = [
      ...[{ node: 'node1' }, { container: 'rogue' }, {}],
      { kind: 'UNAUTHORIZED_CONTAINER' },
    ];
    for (const scope of about) {
      assert.deepEqual(await pulledAfter(silenced(5, 'one', scope)), []);
    }
    const others: readonly Partial<Scope>[] = [{ node: 'lyra' }, { container: 'api' }, { kind: 'IMAGE_DRIFT' }];
    for (const scope of others) {
      assert.deepEqual(await pulledAfter(silenced(5, 'one', scope)), killed);
    }
    assert.deepEqual(await pulledAfter(silenced(5, 'one'), unsilenced(6, 'one')), killed);
    assert.deepEqual(await pulledAfter(silenced(5, 'one'), silenced(6, 'two'), unsilenced(7, 'one')), []);
    const clock = { now: () => nowMs + hourMs, monotonicMs: () => 0 };
    assert.deepEqual((await acting([told(silenced(5, 'one'))], { clock })).pulled, killed);
  });

  test('by a change that was announced, if the drift is exactly that', async () => {
    const differences = [{ field: 'image', desired: 'app:1', observed: 'app:2' }] as const;
    const drift: Drift = { ...rogue, id: 'IMAGE_DRIFT/rogue', kind: 'IMAGE_DRIFT', differences: [...differences] };
    const book = bookOf().book;
    const judged = { node: 'node1', drift, imageId: seen.imageId };
    for (const image of ['app:3', `sha256:${'2'.repeat(64)}`]) {
      book.take(told(announced(5, 'rogue', image)));
      book.take(told(announced(6, 'rogue', 'app:2', 'lyra')));
      assert.equal(book.holdOf(judged, commit), undefined);
    }
    book.take(told(announced(7, 'rogue', 'app:2')));
    assert.equal(book.holdOf(judged, commit)?.code, 'expected');
    const byId = bookOf().book;
    byId.take(told(announced(8, 'rogue', seen.imageId, 'node1')));
    assert.equal(byId.holdOf(judged, commit)?.code, 'expected');
  });

  test('by a person who has rejected an order for this very drift by this commit', async () => {
    assert.deepEqual(await pulledAfter(rejected(5, orderFor(rogue))), []);
    const changed = { ...rogue, differences: [{ field: 'image', desired: null, observed: 'app:2' }] };
    assert.deepEqual(await pulledAfter(rejected(5, orderFor(changed))), killed, 'of another drift');
    assert.deepEqual(await pulledAfter(rejected(5, orderFor(rogue, { commit: other }))), killed, 'by another commit');
    assert.deepEqual(await pulledAfter(rejected(5, orderFor(rogue, { node: 'lyra' }))), killed, 'of another node');
    const unnamed = { ...rejected(5, orderFor(rogue)), order: undefined };
    assert.deepEqual(await pulledAfter(unnamed), killed, 'nobody says which one');
  });

  test('also after a restart, and after the outbox was lost while it ran', async () => {
    const { open, desk, journal, pulled } = await acting([told(frozen(5))]);
    journal.loseState();
    await desk.retell();
    await desk.settled();
    const restarted = await open();
    restarted.compared();
    await restarted.settled();
    assert.deepEqual(pulled, []);
  });

  test('by what it is told while it looks at the container', async () => {
    const words: (() => void)[] = [];
    const ground = deskGround();
    const { standing, observed } = ground;
    const look = async () => {
      for (const say of words) say();
    };
    const watch = { look, scan: async () => {}, standing, observed };
    const adopted = () => ({ commit, policy: policyOf(alone), containers: [] });
    const { open, pulled } = deskGround({ watch, adopted, cutOffMs: () => hourMs });
    const desk = await open();
    tellAll(desk);
    words.push(() => desk.measures.take(told(frozen(5))));
    desk.compared();
    await desk.settled();
    assert.deepEqual(pulled, []);
  });
});

function bookOf(journal = fakeJournal()) {
  const clock = { at: nowMs, now: () => clock.at, monotonicMs: () => clock.at };
  const warned: string[] = [];
  const logger = { ...quietLogger, warn: (event: string) => void warned.push(event) };
  const book = new MeasureBook({ node: 'node1', journal, clock, logger });
  return { book, journal, clock, warned };
}

const judgedRogue = { node: 'node1', drift: rogue };

describe('what a node was told', () => {
  test('ends as the ledger says, in whatever order and however often it comes', () => {
    const history = [
      ...[frozen(1), released(2), frozen(3, other), silenced(4, 'one'), unsilenced(5, 'one'), silenced(6, 'two')],
      ...[frozen(7), released(8, other), rejected(9, orderFor(rogue)), announced(10, 'rogue', 'app:2')],
    ];
    const fold = (words: readonly ToldMeasure[]) => {
      const records = new Map<string, MeasureRecord>();
      for (const word of words) {
        const change = changeOf(word, records, { node: 'node1', nowMs });
        if (change !== undefined) records.set(...change);
      }
      return [...records].sort(([a], [b]) => (a < b ? -1 : 1));
    };
    const straight = fold(history);
    fc.assert(
      // What ends a silence says nothing to who has not heard of it; all else may come in any order.
      fc.property(fc.shuffledSubarray(history, { minLength: history.length }), (shuffled) => {
        assert.deepEqual(fold([...shuffled, ...history]), straight);
      }),
      { seed },
    );
  });

  test('is not ended by an older release, nor by a word about somebody else', () => {
    const { book } = bookOf();
    for (const word of [frozen(9), released(3), released(10, other)]) book.take(told(word));
    assert.equal(book.holdOf(judgedRogue, commit)?.code, 'frozen');
  });

  test('is forgotten when it is over', async () => {
    const { book, journal, clock } = bookOf();
    const words = [
      ...[frozen(1), released(2), silenced(3, 'one'), announced(4, 'rogue', 'app:2'), rejected(5, orderFor(rogue))],
    ];
    for (const word of words) book.take(told(word));
    const digests = new Map([[rogue.id, orderFor(rogue).drift?.digest ?? '']]);
    await book.tidy({ commit, digests });
    assert.equal(book.all.size, 4);
    clock.at += hourMs;
    await book.tidy({ commit, digests: undefined });
    assert.deepEqual([...book.all.values()].map(({ type }) => type).sort(), ['commit', 'rejection']);
    await book.tidy({ commit: other, digests: new Map() });
    assert.deepEqual([book.all.size, (await journal.state('measure/')).size], [0, 0]);
  });

  test('of a drift that is gone is forgotten with it', async () => {
    const { book } = bookOf();
    book.take(told(rejected(5, orderFor(rogue))));
    await book.tidy({ commit, digests: new Map() });
    assert.equal(book.holdOf(judgedRogue, commit), undefined);
  });

  test('counts before it is written, and is written once the disk takes it', async () => {
    const { book, journal } = bookOf();
    journal.mood = 'write_failed';
    book.take(told(frozen(5)));
    await book.flush();
    assert.equal(book.holdOf(judgedRogue, commit)?.code, 'frozen');
    assert.equal((await journal.state('measure/')).size, 0);
    journal.mood = 'well';
    await book.tidy({ commit, digests: undefined });
    const restarted = bookOf(journal).book;
    await restarted.restore();
    assert.equal(restarted.holdOf(judgedRogue, commit)?.code, 'frozen');
  });

  test('and was lost by a crash before it was written counts again once it is told again', async () => {
    const { book, journal } = bookOf();
    const release = journal.hold();
    book.take(told(frozen(5)));
    // The program ends here; the connection with it, and the next one tells it again.
    const restarted = bookOf(fakeJournal()).book;
    await restarted.restore();
    for (const word of [{ type: 'session' }, told(frozen(5)), { type: 'measured', all: true }] as const) {
      restarted.take(word);
    }
    assert.equal(restarted.holdOf(judgedRogue, commit)?.code, 'frozen');
    release();
    await book.flush();
  });
});

describe('a node acts alone only when it knows that it was told everything', () => {
  const restarted = async (journal: FakeJournal) => {
    const { book } = bookOf(journal);
    await book.restore();
    return book;
  };
  const knowing = async () => {
    const { book, journal } = bookOf();
    const words: MeasureWord[] = [{ type: 'session' }, told(frozen(5)), { type: 'measured', all: true }];
    for (const word of words) book.take(word);
    await book.flush();
    return { book, journal };
  };

  test('and nobody has told anything to one that has never heard its collector', async () => {
    const ground = deskGround({
      adopted: () => ({ commit, policy: policyOf(alone), containers: [] }),
      cutOffMs: () => hourMs,
    });
    const desk = await ground.open();
    desk.compared();
    await desk.settled();
    assert.deepEqual([desk.measures.isComplete, ground.pulled], [false, []]);
    tellAll(desk);
    desk.compared();
    await desk.settled();
    assert.deepEqual(ground.pulled, killed);
  });

  test('which a restart leaves as it is', async () => {
    const book = await restarted((await knowing()).journal);
    assert.deepEqual([book.isComplete, book.holdOf(judgedRogue, commit)?.code], [true, 'frozen']);
  });

  test('which is lost with an outbox that was lost before a restart', async () => {
    const { journal } = await knowing();
    journal.loseState();
    assert.equal((await restarted(journal)).isComplete, false);
  });

  test('which an outbox that was lost while it ran is told again', async () => {
    const { book, journal } = await knowing();
    journal.loseState();
    await book.retell();
    const again = await restarted(journal);
    assert.deepEqual([again.isComplete, again.holdOf(judgedRogue, commit)?.code], [true, 'frozen']);
  });

  test('which ends with the first word that is lost, also for a later run', async () => {
    const { book, journal } = await knowing();
    book.take({ type: 'lost' });
    await book.flush();
    assert.deepEqual([book.isComplete, (await restarted(journal)).isComplete], [false, false]);
  });
});

describe('a node that was told more than it can remember does nothing alone', () => {
  const many = Array.from({ length: limits.maxMeasuresRemembered }, (_, i) =>
    told(silenced(i, `s${i}`, { kind: 'IMAGE_DRIFT' })),
  );

  test('and says so, until all of it is told anew', async () => {
    const { pulled, desk, open } = await acting([{ type: 'session' }, ...many, told(silenced(9_999, 'last'))]);
    assert.deepEqual(pulled, []);
    desk.measures.take({ type: 'measured', all: true });
    assert.equal(desk.measures.isComplete, false, 'in the session in which it was lost');
    await desk.measures.flush();
    const restarted = await open();
    restarted.compared();
    await restarted.settled();
    assert.deepEqual(pulled, [], 'after a restart');
    restarted.measures.take({ type: 'session' });
    restarted.measures.take({ type: 'measured', all: true });
    restarted.compared();
    await restarted.settled();
    assert.deepEqual(pulled, killed);
  });

  test('nor when the collector could not tell it all, or what was remembered cannot be read', async () => {
    assert.deepEqual((await acting([{ type: 'session' }, { type: 'measured', all: false }])).pulled, []);
    assert.deepEqual((await acting([{ type: 'lost' }])).pulled, []);
    const { journal, book, warned } = bookOf();
    await journal.append([], [{ key: 'measure/commit/x', value: { type: 'later version' } }]);
    await book.restore();
    assert.equal(book.isComplete, false);
    assert.deepEqual(warned, ['measures.lost']);
  });

  test('and whoever makes up measures wears its disk at a bounded rate', async () => {
    const { book, journal } = bookOf();
    for (let index = 0; index <= limits.maxMeasuresPerMinute; index += 1) {
      book.take(told(index % 2 === 0 ? frozen(index) : released(index)));
    }
    await book.flush();
    assert.equal(book.isComplete, false);
    assert.deepEqual([...(await journal.state('measure/')).keys()], [`measure/commit/${commit}`]);
  });
});

describe('a measure that comes over the wire', () => {
  /** Somebody on the way, or at the database: not the owner of the log's key. */
  async function bench() {
    const collector = testAuthor('collector');
    const ledger = memoryLedger({ keys: collector.keys });
    const logKey = parseVerifierKey(ledger.vkey);
    const message = async (
      statement: Statement,
      author: Pick<TestAuthor, 'next'> = collector,
      order: Order | null = null,
    ) => {
      const signed = author.next(statement);
      const [placed] = await ledger.append([signed]);
      const { size, note } = await ledger.checkpoint();
      const index = placed?.index ?? 0;
      const { hashes, proofs } = await ledger.inclusion([index], size);
      const parsed = collectorMessage.parse({
        ...{ type: 'measure', entry: toWire(signed), index, order },
        hashes: (proofs[0] ?? []).flatMap((at) => hashes[at]?.toString('base64') ?? []),
        checkpoint: { note, consistency: [] },
      });
      assert.ok(parsed.type === 'measure');
      return parsed;
    };
    const read = (measure: Awaited<ReturnType<typeof message>>) => {
      try {
        const { note } = measure.checkpoint;
        const accepted = createWitness(logKey, undefined).accept({ note, consistency: [] });
        const { index, said, order } = readMeasure(measure, accepted, logKey.publicKey);
        return { index, said: { kind: said.kind, body: said.body }, order };
      } catch (thrown) {
        return toAppError(thrown).code;
      }
    };
    return { collector, message, read };
  }
  const release: Statement = released(0).said;

  test('counts when it is proved to be in the ledger and signed by the collector', async () => {
    const { message, read } = await bench();
    assert.deepEqual(read(await message(release)), { index: 0, said: release, order: undefined });
    const order = orderFor(rogue);
    const said = await message(rejected(0, order).said, undefined, order);
    assert.deepEqual(read(said), { index: 1, said: rejected(0, order).said, order });
    const swapped = { ...said, order: orderFor(rogue, { node: 'lyra' }) };
    assert.deepEqual(read(swapped), { index: 1, said: rejected(0, order).said, order: undefined });
  });

  test('is refused when it was altered, moved, forged, made by a node, or is no measure', async () => {
    const { collector, message, read } = await bench();
    const first = await message(release);
    const good = await message(release);
    const text = good.entry.text.replace(commit, other);
    assert.equal(read({ ...good, entry: { ...good.entry, text } }), 'ledger.proof');
    assert.equal(read({ ...good, index: first.index }), 'ledger.proof');
    assert.equal(read({ ...good, hashes: [] }), 'ledger.proof');
    assert.equal(read({ ...good, checkpoint: first.checkpoint }), 'ledger.proof');
    assert.equal(
      read(await message({ kind: 'order.local', body: { order: orderFor(rogue) } }, testAuthor('node1'))),
      'validation.protocol',
    );
    assert.equal(
      read(await message({ kind: 'order.issued', body: { order: orderFor(rogue) } })),
      'validation.protocol',
    );
    const { privateKey } = testAuthor('somebody').keys;
    const forger = {
      next: (said: Statement) => sealEntry(said, { author: 'collector', head: collector.head, now: nowMs, privateKey }),
    };
    assert.equal(read(await message(release, forger)), 'auth.signature');
  });
});
