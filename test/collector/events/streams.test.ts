import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../../collector/clock.ts';
import { type EventFilter, liveEvent, matches, readEvent } from '../../../collector/events/event.ts';
import type { EventMetrics } from '../../../collector/events/ports.ts';
import { createEventStreams, type EventStreamBounds, type EventStreams } from '../../../collector/events/streams.ts';
import { AppError } from '../../../common/errors.ts';
import type { Statement } from '../../../common/kinds.ts';
import { cleared, type TestAuthor, testAuthor } from '../../authors.ts';
import { randomOf } from '../../e2e/random.ts';
import { type MemoryEvents, memoryEvents } from '../../fakes/event-store.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { unevenPause } from '../../uneven-pause.ts';
import { until } from '../../until.ts';
import { admission, listener } from './listener.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';
const hour = 3_600_000;
const calm = { eventHeartbeatMs: hour, eventStallMs: hour, eventPollMs: hour };
const finding: Statement = { kind: 'drift.resolved', body: { id: 'drift-1', commit: null } };
const lost: Statement = {
  kind: 'coverage.gap',
  body: { from: '2026-01-01T00:00:00.000Z', to: '2026-01-01T00:01:00.000Z', reason: 'dropped', rebuilt: [] },
};

async function withStreams<T>(
  store: MemoryEvents,
  work: (streams: EventStreams) => Promise<T>,
  bounds: Partial<EventStreamBounds> = {},
  metrics?: EventMetrics,
): Promise<T> {
  const streams = createEventStreams({
    ...{ store, logger: quietLogger, clock: systemClock },
    bounds: { ...calm, ...bounds },
    ...(metrics && { metrics }),
  });
  try {
    return await work(streams);
  } finally {
    await streams.stop();
  }
}

/** Indexes of what `filter` lets through, from `from` on, straight from the ledger. */
async function expected(store: MemoryEvents, filter: EventFilter, from = 0): Promise<number[]> {
  const found: number[] = [];
  for (let next = from; next < store.entries.length; ) {
    const page = await store.page({ from: next, to: undefined, kinds: undefined, authors: undefined });
    const events = page.events.map((stored) => liveEvent(readEvent(stored), { orders: new Map() }));
    found.push(...events.filter((event) => matches(filter, event)).map(({ index }) => index));
    next = page.next;
  }
  return found;
}

const authors = (): TestAuthor[] => ['node1', 'node2', 'lyra'].map(testAuthor);
const filters: readonly EventFilter[] = [
  {},
  { node: 'node2' },
  { kinds: ['coverage.gap', 'drift.resolved'] },
  { severity: 'warning' },
  { node: 'lyra', severity: 'warning', kinds: ['coverage.gap'] },
];

describe('streams of events', () => {
  test('nobody misses an entry or hears it twice, however often they leave and wherever they come back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        const random = randomOf(seed, 'streams');
        const store = memoryEvents();
        const pause = unevenPause(seed);
        store.onRead = pause;
        const speakers = authors();
        const say = (): void => {
          const statement = random.pick([cleared('one'), finding, lost]);
          const by = random.pick(speakers);
          store.append(Array.from({ length: random.int(1, 9) }, () => by.next(statement)));
        };
        say();
        const tiny = { eventBufferEvents: random.int(1, 12), eventWriteBytes: random.int(1, 4_000) };
        const all = filters.map((filter) => ({ filter, listener: listener(filter, pause) }));
        await withStreams(
          store,
          async (one) =>
            withStreams(
              store,
              async (two) => {
                for (let step = 0; step < 120; step++) {
                  if (random.chance(0.5)) say();
                  if (random.chance(0.7)) random.pick([one, two]).wake();
                  const { listener: who } = random.pick(all);
                  if (who.isOpen && random.chance(0.3)) who.close();
                  else if (!who.isOpen)
                    await who.open(random.pick([one, two]), who.cursor === undefined ? { after: -1 } : undefined);
                  await pause();
                }
                for (const { filter, listener: who } of all) {
                  const whole = await expected(store, filter);
                  await until(`seed ${seed}: ${JSON.stringify(filter)}`, async () => {
                    if (!who.isOpen)
                      await who.open(random.pick([one, two]), who.cursor === undefined ? { after: -1 } : undefined);
                    one.wake();
                    two.wake();
                    return who.heard.length >= whole.length;
                  });
                  assert.deepEqual(who.heard, whole);
                  who.close();
                }
              },
              { ...tiny, eventHeartbeatMs: 2 },
            ),
          tiny,
        );
      }),
      { numRuns: long ? 300 : 8 },
    );
  });

  test('one reader reads for all', async () => {
    const store = memoryEvents();
    const [node1] = authors();
    store.append(node1?.more(1) ?? []);
    await withStreams(store, async (streams) => {
      const all = Array.from({ length: 20 }, () => listener({}));
      for (const one of all) await one.open(streams);
      await until('all are there', () => all.every(({ notes }) => notes.length === 1));
      const before = store.pagesRead;
      store.append(node1?.more(5) ?? []);
      streams.wake();
      await until('all have heard', () => all.every(({ heard }) => heard.length === 5));
      assert.ok(store.pagesRead - before <= 2, `${store.pagesRead - before} pages for 20 subscribers`);
      for (const one of all) one.close();
    });
  });

  test('while nobody follows, nothing is read', async () => {
    const store = memoryEvents();
    const [node1] = authors();
    await withStreams(store, async (streams) => {
      const one = listener({});
      await one.open(streams);
      one.close();
      const before = store.pagesRead;
      store.append(node1?.more(3) ?? []);
      streams.wake();
      assert.equal(store.pagesRead, before);
    });
  });

  test('a filter that changes says from which entry on, and each entry is judged by the one that held', async () => {
    const store = memoryEvents();
    const [node1] = authors();
    assert.ok(node1);
    await withStreams(store, async (streams) => {
      const stream = await streams.open(admission, { kinds: ['coverage.gap'] }, 'now');
      store.append([node1.next(lost), node1.next(finding)]);
      streams.wake();
      const opening = await stream.subscription.next();
      assert.deepEqual(
        opening?.map((item) => item.is === 'note' && item.note),
        [{ type: 'filtering', after: -1 }],
      );
      const first = await stream.subscription.next();
      assert.deepEqual(
        first?.map((item) => item.is === 'event' && item.event.index),
        [0],
      );
      stream.subscription.refilter({ kinds: ['drift.resolved'] });
      store.append([node1.next(lost), node1.next(finding)]);
      streams.wake();
      const answer = await stream.subscription.next();
      assert.deepEqual(
        answer?.map((item) => item.is === 'note' && item.note),
        [{ type: 'filtering', after: 1 }],
      );
      const second = await stream.subscription.next();
      assert.deepEqual(
        second?.map((item) => item.is === 'event' && item.event.index),
        [3],
      );
      stream.close('left');
    });
  });

  test('the latest that match come first, as many as were asked for, and what is new follows', async () => {
    const store = memoryEvents();
    const [node1] = authors();
    assert.ok(node1);
    for (let i = 0; i < 700; i++) store.append([node1.next(i % 7 === 0 ? lost : cleared(`${i}`))]);
    const filter: EventFilter = { severity: 'warning' };
    const whole = await expected(store, filter);
    await withStreams(store, async (streams) => {
      const one = listener(filter);
      await one.open(streams, { recent: 90 });
      await until('the past', () => one.heard.length === 90);
      assert.deepEqual(one.heard, whole.slice(-90));
      store.append([node1.next(lost)]);
      streams.wake();
      await until('the present', () => one.heard.length === 91);
      assert.equal(one.heard.at(-1), 700);
      const all = listener(filter);
      await all.open(streams, { recent: 1_000 });
      await until('all of the past', () => all.heard.length === whole.length + 1);
      one.close();
      all.close();
    });
  });

  test('whoever is too slow is told where to go on, holds no more than the buffer, and misses nothing', async () => {
    const store = memoryEvents();
    const [node1] = authors();
    assert.ok(node1);
    const bounds = { eventBufferEvents: 10 };
    const ends: string[] = [];
    const metrics = { opened: () => {}, closed: (why: string) => void ends.push(why), sent: () => {} };
    await withStreams(
      store,
      async (streams) => {
        const stream = await streams.open(admission, {}, 'now');
        await stream.subscription.next();
        // From here on it waits for events, and then never asks again.
        const waiting = stream.subscription.next();
        store.append(node1.more(1));
        streams.wake();
        assert.equal((await waiting)?.length, 1);
        store.append(node1.more(200));
        streams.wake();
        await until('it is over', () => stream.subscription.isOver);
        const rest = await stream.subscription.next();
        assert.deepEqual(
          rest?.map((item) => item.is === 'note' && item.note),
          [{ type: 'behind', after: 0 }],
        );
        assert.equal(await stream.subscription.next(), undefined);
        stream.close('left');
        assert.deepEqual(ends, ['behind']);
        const again = listener({});
        await again.open(streams, { after: 0 });
        await until('the rest', () => again.heard.length === 200);
        assert.deepEqual(
          again.heard,
          Array.from({ length: 200 }, (_, i) => i + 1),
        );
        again.close();
      },
      bounds,
      metrics,
    );
  });

  test('whoever does not read at all is cut off', async () => {
    const store = memoryEvents();
    const ends: string[] = [];
    const metrics = { opened: () => {}, closed: (why: string) => void ends.push(why), sent: () => {} };
    await withStreams(
      store,
      async (streams) => {
        const stream = await streams.open(admission, {}, 'now');
        let cut = false;
        stream.onCut = () => {
          cut = true;
        };
        await until('it is cut', () => cut);
        assert.deepEqual(ends, ['stalled']);
      },
      { eventStallMs: 20 },
      metrics,
    );
  });

  test('a sign of life carries the cursor on where nothing matches', async () => {
    const store = memoryEvents();
    const [node1] = authors();
    assert.ok(node1);
    await withStreams(
      store,
      async (streams) => {
        const one = listener({ severity: 'critical' });
        await one.open(streams);
        store.append(node1.more(30));
        streams.wake();
        await until('it has come on', () => one.cursor === 29);
        assert.deepEqual(one.heard, []);
        one.close();
      },
      { eventHeartbeatMs: 5 },
    );
  });

  test('a stream ends when its caller may not listen any more', async () => {
    let allowed = true;
    await withStreams(
      memoryEvents(),
      async (streams) => {
        const stream = await streams.open({ ...admission, stillAllowed: async () => allowed }, {}, 'now');
        await stream.subscription.next();
        allowed = false;
        await until('it is over', () => stream.subscription.isOver);
        assert.equal(stream.subscription.last?.type, 'ended');
        const rest = await stream.subscription.next();
        assert.match(JSON.stringify(rest), /auth\.revoked/);
        stream.close('left');
      },
      { eventHeartbeatMs: 5 },
    );
  });

  test('there are so many streams and no more, of one caller and of all; one that closes makes room', async () => {
    const refusal = async (opening: Promise<unknown>): Promise<string> =>
      opening.then(
        () => 'opened',
        (thrown: unknown) => (thrown instanceof AppError ? thrown.code : 'unknown'),
      );
    const other = { ...admission, caller: { ...admission.caller, actor: 'user:ada' } };
    await withStreams(
      memoryEvents(),
      async (streams) => {
        const first = await streams.open(admission, {}, 'now');
        const second = await streams.open(admission, {}, 'now');
        assert.equal(await refusal(streams.open(admission, {}, 'now')), 'rate_limit.exceeded');
        const third = await streams.open(other, {}, 'now');
        assert.equal(await refusal(streams.open(other, {}, 'now')), 'state.busy');
        first.close('left');
        assert.equal(await refusal(streams.open(other, {}, { after: 7 })), 'validation.request');
        assert.equal(await refusal(streams.open(other, {}, 'now')), 'opened');
        second.close('left');
        third.close('left');
      },
      { maxEventStreams: 3, maxEventStreamsPerCaller: 2 },
    );
  });

  test('a ledger that cannot be read delays what is new, and ends only streams that need the past', async () => {
    const store = memoryEvents();
    const [node1] = authors();
    assert.ok(node1);
    await withStreams(store, async (streams) => {
      store.append(node1.more(2));
      const one = listener({});
      await one.open(streams);
      await until('it is there', () => one.notes.length === 1);
      store.append(node1.more(3));
      store.onRead = async () => {
        throw new AppError('database.unreachable', 'gone', { retryable: true });
      };
      streams.wake();
      const late = await streams.open(admission, {}, { after: -1 });
      await late.subscription.next();
      const failed = await late.subscription.next();
      assert.match(JSON.stringify(failed), /"ended".*database\.unreachable/);
      store.onRead = async () => {};
      streams.wake();
      await until('it has heard', () => one.heard.length === 3);
      late.close('left');
      one.close();
    });
  });

  test('entries whose bodies are gone are told of as such, and count as the worst they can have been', async () => {
    const store = memoryEvents();
    const [node1] = authors();
    assert.ok(node1);
    store.append([node1.next(lost)]);
    store.eraseBody(0);
    await withStreams(store, async (streams) => {
      const stream = await streams.open(admission, { severity: 'warning' }, { after: -1 });
      await stream.subscription.next();
      const items = await stream.subscription.next();
      const [item] = items ?? [];
      assert.ok(item?.is === 'event');
      const told = JSON.parse(item.event.json.toString());
      assert.deepEqual([told.entry, told.signature, told.node, told.severity], [null, null, 'node1', 'warning']);
      stream.close('left');
    });
  });
});
