import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { afterEach, describe, test } from 'node:test';
import WebSocket from 'ws';
import { eventsPath } from '../../../collector/api/events-contract.ts';
import { anonymous, local } from '../../../collector/auth/caller.ts';
import { systemClock } from '../../../collector/clock.ts';
import { eventsSubprotocol } from '../../../collector/events/messages.ts';
import { createEventStreams, type EventStreamBounds, type EventStreams } from '../../../collector/events/streams.ts';
import { createShell } from '../../../collector/http/app.ts';
import { clientAddresses, withClientAddress } from '../../../collector/http/client-address.ts';
import { addEventsRoutes } from '../../../collector/http/events-routes.ts';
import { createRates } from '../../../collector/http/rates.ts';
import { createServing, type Gate } from '../../../collector/http/serving.ts';
import { httpSettings } from '../../../collector/http/settings.ts';
import { enteringBy } from '../../../collector/http/upgrades.ts';
import { createLive, type Live } from '../../../collector/ws/live.ts';
import { attachSockets } from '../../../collector/ws/server.ts';
import { AppError } from '../../../common/errors.ts';
import type { Statement } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { type TestAuthor, testAuthor } from '../../authors.ts';
import { memoryEvents } from '../../fakes/event-store.ts';
import { memoryLedger } from '../../fakes/ledger.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { nodeTable, portOf } from '../../wire.ts';

interface Message {
  readonly type: string;
  readonly index?: number;
  readonly after?: number;
  readonly [member: string]: unknown;
}

interface Heard {
  readonly socket: WebSocket;
  readonly messages: Message[];
  readonly closed: Promise<{ code: number; reason: string }>;
}

const opened: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.stop();
});

const hour = 3_600_000;
const finding: Statement = { kind: 'drift.resolved', body: { id: 'drift-1', commit: null } };
const bearer = { Authorization: 'Bearer good' };

const follower = { ...local, actor: 'user:fay' };
const gate: Gate = {
  visitor: anonymous,
  authenticate: async (authorization) => {
    if (authorization === undefined) return anonymous;
    if (authorization === bearer.Authorization) return follower;
    throw new AppError('auth.token', 'not a token');
  },
};

interface Around extends Partial<EventStreamBounds> {
  readonly readsPerMinute?: number;
  readonly trustedProxies?: readonly string[];
}

async function serve({ readsPerMinute = 1_000, trustedProxies = [], ...bounds }: Around = {}) {
  const store = memoryEvents();
  const author: TestAuthor = testAuthor('node1');
  store.append(author.more(1));
  const calm = { eventHeartbeatMs: hour, eventStallMs: hour, eventPollMs: hour };
  const parts = { clock: systemClock, logger: quietLogger };
  const streams: EventStreams = createEventStreams({ ...parts, store, bounds: { ...calm, ...bounds } });
  const app = createShell({
    logger: quietLogger,
    newRequestId: () => 'request-1',
    ledger: { contradiction: undefined },
  });
  app.use(withClientAddress(clientAddresses(trustedProxies)));
  const { rates } = httpSettings.parse({ rates: { readsPerMinute }, tls: {}, cors: {}, connections: {} });
  const serving = createServing(app, gate, { rates: createRates({ rates }, systemClock) });
  addEventsRoutes(serving, gate, { streams, corsOrigins: ['https://console.example'] });
  const live: Live = createLive({ ...parts, enter: enteringBy(app) });
  const server = http.createServer();
  const sockets = attachSockets(server, {
    ...{ ...parts, ledger: memoryLedger(), nodes: nodeTable() },
    entrances: new Map([[eventsPath, live.upgrade]]),
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push({
    stop: async () => {
      await streams.stop();
      await live.close();
      await sockets.close();
      server.close();
      server.closeAllConnections();
    },
  });
  const url = (query = '') => `ws://127.0.0.1:${portOf(server)}${eventsPath}${query}`;
  return {
    ...{ store, author, streams, live, server, url },
    say: (...statements: readonly Statement[]) => {
      store.append(statements.map((statement) => author.next(statement)));
      streams.wake();
    },
    more: (count: number) => {
      store.append(author.more(count));
      streams.wake();
    },
  };
}

async function listen(url: string, headers: Readonly<Record<string, string>> = bearer): Promise<Heard> {
  const socket = new WebSocket(url, eventsSubprotocol, { headers });
  const messages: Message[] = [];
  socket.on('message', (data) => messages.push(JSON.parse(data.toString())));
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  await once(socket, 'open');
  await until('the first message', () => messages.length > 0);
  return { socket, messages, closed };
}

async function refusal(url: string, headers: Readonly<Record<string, string>> = bearer, protocol = eventsSubprotocol) {
  const socket = new WebSocket(url, protocol, { headers });
  const [, answer]: [unknown, http.IncomingMessage] = await new Promise((resolve, reject) => {
    socket.on('unexpected-response', (request, response) => resolve([request, response]));
    socket.on('open', () => reject(new Error('it opened')));
    socket.on('error', () => {});
  });
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  return { status: answer.statusCode, code: text === '' ? '' : JSON.parse(text).error_code, headers: answer.headers };
}

const indexes = ({ messages }: Heard): (number | undefined)[] =>
  messages.filter(({ type }) => type === 'event').map(({ index }) => index);

describe('live events over WebSocket', () => {
  test('what is appended arrives as it was signed, and says where the stream began', async () => {
    const { url, say, store } = await serve();
    const one = await listen(url());
    assert.deepEqual(one.messages[0], { type: 'filtering', after: 0 });
    assert.equal(one.socket.protocol, eventsSubprotocol);
    say(finding);
    await until('the event', () => one.messages.length === 2);
    const told = one.messages[1];
    assert.deepEqual(told?.entry, JSON.parse(store.entries[1]?.bytes.toString() ?? ''));
    assert.deepEqual([told?.index, told?.node, told?.severity], [1, 'node1', 'info']);
  });

  test('a filter changes on the open socket, and its answer says from where', async () => {
    const { url, say } = await serve();
    const one = await listen(url('?kind=drift.resolved,report'));
    say({ kind: 'sigil.cleared', body: { store: 's', id: 'x' } }, finding);
    await until('the finding', () => one.messages.length === 2);
    one.socket.send(JSON.stringify({ type: 'filter', kind: 'sigil.cleared', node: 'node1' }));
    await until('the answer', () => one.messages.length === 3);
    assert.deepEqual(one.messages[2], { type: 'filtering', after: 2 });
    say({ kind: 'sigil.cleared', body: { store: 's', id: 'y' } }, finding);
    await until('the other kind', () => one.messages.length === 4);
    assert.deepEqual(indexes(one), [2, 3]);
  });

  test('whoever comes back with the last index goes on there', async () => {
    const { url, more } = await serve();
    const one = await listen(url());
    more(3);
    await until('three', () => indexes(one).length === 3);
    one.socket.close();
    more(3);
    const two = await listen(url('?after=3'));
    await until('the rest', () => indexes(two).length === 3);
    assert.deepEqual(indexes(two), [4, 5, 6]);
    const recent = await listen(url('?recent=2'));
    await until('the latest', () => indexes(recent).length === 2);
    assert.deepEqual(indexes(recent), [5, 6]);
  });

  test('a message that is none changes nothing and is answered; too many of them end the stream with its cursor', async () => {
    const { url, say } = await serve();
    const one = await listen(url());
    for (const bad of [
      '',
      '{',
      '[]',
      'null',
      '{"type":"filter","kind":"no.kind"}',
      '{"type":"filter","__proto__":1}',
    ]) {
      one.socket.send(bad);
    }
    one.socket.send(Buffer.from([0, 1, 2]));
    await until('answers', () => one.messages.length === 8);
    assert.ok(one.messages.slice(1).every(({ type }) => type === 'refused'));
    say(finding);
    await until('the event', () => indexes(one).length === 1);
    for (let i = 0; i < limits.eventMessageBurst; i++) one.socket.send('{}');
    const { code, reason } = await one.closed;
    assert.deepEqual([code, reason], [1008, 'after=1']);
    assert.equal(one.messages.at(-1)?.error_code, 'rate_limit.exceeded');
  });

  test('a frame that is too large, or no WebSocket at all, ends that socket and no other', async () => {
    const { url, more, server } = await serve();
    const good = await listen(url());
    const large = await listen(url());
    large.socket.on('error', () => {});
    large.socket.send('x'.repeat(limits.maxEventMessageBytes + 1));
    assert.equal((await large.closed).code, 1009);
    const raw = net.connect(portOf(server), '127.0.0.1');
    raw.on('error', () => {});
    raw.write(
      `GET ${eventsPath} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
        `Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ${eventsSubprotocol}\r\n` +
        `Authorization: ${bearer.Authorization}\r\n\r\n`,
    );
    await once(raw, 'data');
    raw.write(Buffer.from('ff00ff00ff00', 'hex'));
    await once(raw, 'close');
    more(1);
    await until('the event', () => indexes(good).length === 1);
  });

  test('it is refused without a token, from a foreign page, for another protocol, and for what no list takes', async () => {
    const { url, server } = await serve({ maxEventStreams: 1 });
    const host = `127.0.0.1:${portOf(server)}`;
    const told = async (...asked: Parameters<typeof refusal>) => {
      const { status, code } = await refusal(...asked);
      return [status, code];
    };
    assert.deepEqual(await told(url(), {}), [401, 'auth.required']);
    assert.deepEqual(await told(url(), { Authorization: 'Bearer bad' }), [401, 'auth.token']);
    assert.deepEqual(await told(url(), { ...bearer, Origin: 'https://evil.example' }), [403, 'auth.forbidden']);
    assert.deepEqual(await told(url(), bearer, 'sigilwatch.v1'), [400, 'validation.protocol']);
    for (const bad of [
      '?kind=nothing',
      '?after=x',
      '?after=0&after=1',
      '?recent=0',
      '?recent=5&after=1',
      '?x=1',
      '?after=99',
    ]) {
      assert.deepEqual(await told(url(bad)), [400, 'validation.request'], bad);
    }
    const one = await listen(url(), { ...bearer, Origin: `http://${host}` });
    assert.deepEqual(await told(url()), [503, 'state.busy']);
    one.socket.close();
    await one.closed;
    await until('there is room', async () => {
      const socket = new WebSocket(url(), eventsSubprotocol, {
        headers: { ...bearer, Origin: 'https://console.example' },
      });
      socket.on('error', () => {});
      const [name] = await Promise.race([
        once(socket, 'open').then(() => ['open']),
        once(socket, 'unexpected-response').then(() => ['refused']),
      ]);
      return name === 'open';
    });
  });

  test('sockets are counted with all other reads of whoever opens them, and say what is left', async () => {
    const { url } = await serve({ readsPerMinute: 2 });
    const first = new WebSocket(url(), eventsSubprotocol, { headers: { ...bearer, 'X-Request-ID': 'mine' } });
    const [answer]: http.IncomingMessage[] = await once(first, 'upgrade');
    assert.deepEqual([answer?.headers['ratelimit-remaining'], answer?.headers['x-request-id']], ['1', 'mine']);
    await listen(url());
    const { status, code, headers } = await refusal(url());
    assert.deepEqual([status, code], [429, 'rate_limit.exceeded']);
    assert.ok(Number(headers['retry-after']) > 0);
  });

  test('sockets of strangers are counted by the address that a trusted proxy tells', async () => {
    const { url } = await serve({ readsPerMinute: 1, trustedProxies: ['127.0.0.0/8'] });
    const from = async (address: string) => (await refusal(url(), { 'X-Forwarded-For': address })).status;
    assert.deepEqual([await from('192.0.2.1'), await from('192.0.2.2')], [401, 401]);
    assert.deepEqual([await from('192.0.2.1'), await from('192.0.2.2')], [429, 429]);
    const untrusted = await serve({ readsPerMinute: 1 });
    assert.equal((await refusal(untrusted.url(), { 'X-Forwarded-For': '192.0.2.1' })).status, 401);
    assert.equal((await refusal(untrusted.url(), { 'X-Forwarded-For': '192.0.2.2' })).status, 429);
  });

  test('what no method or key makes a WebSocket of takes nobody a place', async () => {
    const { url, server } = await serve({ maxEventStreams: 1 });
    const head = (method: string, key: string) =>
      `${method} ${eventsPath} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Protocol: ${eventsSubprotocol}\r\nAuthorization: ${bearer.Authorization}\r\n\r\n`;
    for (const asked of [
      head('POST', 'AAAAAAAAAAAAAAAAAAAAAA=='),
      head('TRACE', 'AAAAAAAAAAAAAAAAAAAAAA=='),
      head('GET', 'x'),
    ]) {
      const raw = net.connect(portOf(server), '127.0.0.1');
      raw.on('error', () => {});
      raw.write(asked);
      const [data]: Buffer[] = await once(raw, 'data');
      assert.match(data?.toString() ?? '', /^HTTP\/1\.1 40\d /);
      await once(raw, 'close');
    }
    await listen(url());
  });

  test('whoever does not read is let go with a cursor and costs no more than the buffer; from the cursor on nothing is missing', async () => {
    const { url, more, store, streams } = await serve({ eventBufferEvents: 600 });
    const slow = await listen(url());
    slow.socket.pause();
    const seen = await listen(url());
    let total = 0;
    while (store.entries.length < 20_000) {
      more(400);
      total += 400;
      // The one that reads has to be given the time to.
      await until('the other one reads on', () => indexes(seen).length === total);
    }
    slow.socket.resume();
    const { code, reason } = await slow.closed;
    const after = Number(/^after=(\d+)$/.exec(reason)?.[1]);
    assert.equal(code, 1013);
    assert.deepEqual(slow.messages.at(-1), { type: 'behind', after });
    const first = indexes(slow);
    assert.ok(first.length < total, `${first.length} of ${total}`);
    const again = await listen(url(`?after=${after}`));
    await until('the rest', () => first.length + indexes(again).length === total);
    assert.deepEqual(
      [...first, ...indexes(again)],
      Array.from({ length: total }, (_, i) => i + 1),
    );
    assert.ok(streams);
  });

  test('signs of life come as messages and pings, and a collector that stops says where to go on', async () => {
    const { url, streams, live } = await serve({ eventHeartbeatMs: 1_000 });
    const one = await listen(url());
    let pings = 0;
    one.socket.on('ping', () => {
      pings += 1;
    });
    await until('signs of life', () => pings > 0 && one.messages.some(({ type }) => type === 'heartbeat'));
    await Promise.all([streams.stop(), live.close()]);
    const { code, reason } = await one.closed;
    assert.deepEqual([code, reason], [1013, 'after=0']);
    assert.equal(one.messages.at(-1)?.error_code, 'state.busy');
  });

  test('whoever answers no ping is given up', async () => {
    const { url } = await serve({ eventHeartbeatMs: 20 });
    const one = await listen(url());
    one.socket.pong = () => {};
    const mute = new WebSocket(url(), eventsSubprotocol, { headers: bearer, autoPong: false });
    await once(mute, 'open');
    await once(mute, 'close');
  });
});
