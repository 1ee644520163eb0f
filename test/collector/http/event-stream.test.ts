import assert from 'node:assert/strict';
import { once } from 'node:events';
import type http from 'node:http';
import net from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { local } from '../../../collector/auth/caller.ts';
import { systemClock } from '../../../collector/clock.ts';
import type { EventMetrics } from '../../../collector/events/ports.ts';
import { createEventStreams, type EventStreamBounds } from '../../../collector/events/streams.ts';
import { addEventsRoutes } from '../../../collector/http/events-routes.ts';
import { createHttpServer } from '../../../collector/http/server.ts';
import { largeStatement, testAuthor } from '../../authors.ts';
import { memoryEvents } from '../../fakes/event-store.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { served } from '../../serving.ts';
import { until } from '../../until.ts';
import { portOf } from '../../wire.ts';

const opened: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0)) await close();
});

const hour = 3_600_000;

async function serveEvents(bounds: Partial<EventStreamBounds> = {}) {
  const store = memoryEvents();
  const author = testAuthor('node1');
  store.append(author.more(1));
  const ends: string[] = [];
  let open = 0;
  const metrics: EventMetrics = {
    opened: () => {
      open += 1;
    },
    closed: (why) => {
      open -= 1;
      ends.push(why);
    },
    sent: () => {},
  };
  const streams = createEventStreams({
    ...{ store, metrics, logger: quietLogger, clock: systemClock },
    bounds: { eventHeartbeatMs: hour, eventStallMs: hour, eventPollMs: hour, ...bounds },
  });
  const gate = { visitor: local, authenticate: async () => local };
  const app = served((serve) => addEventsRoutes(serve, gate, { streams, corsOrigins: [] }));
  const server: http.Server = createHttpServer(app);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push(async () => {
    await streams.stop();
    server.close();
    server.closeAllConnections();
  });
  return {
    ...{ store, streams, ends, server },
    open: () => open,
    url: (query = '') => `http://127.0.0.1:${portOf(server)}/api/v1/events${query}`,
    /** Some 45 kB each. */
    large: (count: number) => {
      store.append(Array.from({ length: count }, () => author.next(largeStatement)));
      streams.wake();
    },
    more: (count: number) => {
      store.append(author.more(count));
      streams.wake();
    },
  };
}

interface Following {
  /** All that has arrived, as text. */
  text(): string;
  readonly indexes: readonly number[];
  readonly answer: Response;
  readonly over: Promise<void>;
  leave(): void;
}

async function follow(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Following> {
  const stop = new AbortController();
  const answer = await fetch(url, { headers, signal: stop.signal });
  const decoder = new TextDecoder();
  let text = '';
  const read = async (): Promise<void> => {
    for await (const chunk of answer.body ?? []) text += decoder.decode(chunk, { stream: true });
  };
  const over = read().catch(() => {});
  return {
    answer,
    over,
    text: () => text,
    get indexes() {
      return [...text.matchAll(/^data: (.*)$/gm)].flatMap(([, json = '']) => {
        const told = JSON.parse(json);
        return told.type === 'event' ? [told.index] : [];
      });
    },
    leave: () => stop.abort(),
  };
}

describe('live events as server-sent events', () => {
  test('each event is one message with its index for an id, and the first thing said is where the stream began', async () => {
    const { url, more } = await serveEvents();
    const one = await follow(url());
    assert.equal(one.answer.headers.get('Content-Type'), 'text/event-stream; charset=utf-8');
    assert.equal(one.answer.headers.get('Cache-Control'), 'no-store');
    await until('the beginning', () => one.text() === 'retry: 2000\n: filtering\nid: 0\n\n');
    more(2);
    await until('two', () => one.indexes.length === 2);
    const [, first = ''] = /\n\n(id: 1\ndata: .*\n\n)id: 2/.exec(one.text()) ?? [];
    assert.equal(first.split('\n').length, 5 - 1);
    one.leave();
  });

  test('whoever comes back with Last-Event-ID goes on there, whatever the address says', async () => {
    const { url, more } = await serveEvents();
    more(5);
    for (const query of ['?after=0', '?recent=5', '']) {
      const one = await follow(url(query), { 'Last-Event-ID': '3' });
      await until('the rest', () => one.indexes.length === 2);
      assert.deepEqual(one.indexes, [4, 5]);
      one.leave();
    }
  });

  test('a place that is none is refused before anything is streamed', async () => {
    const { url } = await serveEvents();
    for (const [query, id] of [
      ['?after=x', ''],
      ['?after=5', ''],
      ['', 'x'],
      ['', '99'],
      ['?recent=5&after=0', ''],
    ]) {
      const answer = await fetch(url(query), { headers: { 'Last-Event-ID': id ?? '' } });
      assert.equal(answer.status, 400);
      assert.equal(JSON.parse(await answer.text()).error_code, 'validation.request');
    }
  });

  test('whoever leaves is forgotten, and makes room for another', async () => {
    const { url, open, ends } = await serveEvents({ maxEventStreams: 1 });
    const one = await follow(url());
    assert.equal(open(), 1);
    const refused = await fetch(url());
    assert.equal(refused.status, 503);
    await refused.text();
    one.leave();
    await until('it is forgotten', () => open() === 0);
    assert.deepEqual(ends, ['left']);
    (await follow(url())).leave();
  });

  test('whoever does not read stops the reading of the past; others go on, and it is cut off in the end', async () => {
    const { url, more, large, store, server, ends } = await serveEvents({ eventStallMs: 300, eventHeartbeatMs: 50 });
    large(400);
    const raw = net.connect(portOf(server), '127.0.0.1');
    raw.on('error', () => {});
    raw.pause();
    raw.write('GET /api/v1/events?after=-1 HTTP/1.1\r\nHost: x\r\n\r\n');
    await until('it is cut off', () => ends.includes('stalled'));
    // What fits into the buffers of the network was read, and no more.
    assert.ok(store.pagesRead < 60, `${store.pagesRead} pages of about 70`);
    const one = await follow(url('?recent=1'));
    more(1);
    await until('another one hears', () => one.indexes.length === 2);
    raw.destroy();
    one.leave();
  });

  test('thousands of events from the past arrive whole and in order, and cost no more than a few pages', async () => {
    const { url, more, store } = await serveEvents();
    for (let i = 0; i < 10; i++) more(400);
    const before = process.memoryUsage().heapUsed;
    const all = await Promise.all([1, 2, 3].map(() => follow(url('?after=-1'))));
    for (const one of all) await until('all of it', () => one.text().includes(`\nid: ${store.entries.length - 1}\n`));
    for (const { indexes } of all)
      assert.deepEqual(
        indexes,
        Array.from(store.entries, (_, i) => i),
      );
    for (const one of all) one.leave();
    assert.ok(process.memoryUsage().heapUsed - before < 256 * 1024 * 1024);
  });

  test('signs of life carry the id on, and a collector that stops says so and where to go on', async () => {
    const { url, streams } = await serveEvents({ eventHeartbeatMs: 10 });
    const one = await follow(url());
    await until('a sign of life', () => one.text().includes(': heartbeat\nid: 0\n\n'));
    await streams.stop();
    await one.over;
    assert.match(
      one.text(),
      /id: 0\nevent: ended\ndata: \{"type":"ended","error_code":"state\.busy".*"after":0\}\n\n$/,
    );
  });
});
