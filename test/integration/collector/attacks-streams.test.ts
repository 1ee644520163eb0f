import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { limits } from '../../../common/limits.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { until } from '../../until.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

const headers = () => ({ Authorization: `Bearer ${under.token}` });

async function followOnce(method: 'GET' | 'HEAD'): Promise<number> {
  const leaving = new AbortController();
  const url = `${under.collector.url}/api/v1/events`;
  const { status } = await fetch(url, { method, headers: headers(), signal: leaving.signal });
  leaving.abort();
  return status;
}

async function open(): Promise<net.Socket> {
  const socket = net.connect(Number(new URL(under.collector.url).port), '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

const streamsOpen = async () => {
  const text = await (await fetch(`${under.collector.url}/metrics`, { headers: headers() })).text();
  return Number(/^sigilwatch_collector_event_subscribers (\d+)$/m.exec(text)?.[1]);
};

test('a HEAD of live events takes nobody a place', async () => {
  for (let i = 0; i <= limits.maxEventStreamsPerCaller; i++) assert.equal(await followOnce('HEAD'), 200);
  await until('no stream is open', async () => (await streamsOpen()) === 0);
  assert.equal(await followOnce('GET'), 200);
});

test('streams asked for behind another answer are refused, and none stays when the connection is cut', async () => {
  const get = `GET /api/v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${under.token}\r\n\r\n`;
  for (let i = 0; i < 5; i++) {
    const socket = await open();
    socket.write(get.repeat(10));
    await once(socket, 'data');
    assert.ok((await streamsOpen()) <= 2, 'only the first has one');
    socket.resetAndDestroy();
  }
  await until('no stream is open', async () => (await streamsOpen()) === 0);
  assert.equal(await followOnce('GET'), 200);
});

test('whoever leaves at any moment leaves no stream behind', async () => {
  const get = `GET /api/v1/events?recent=10 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${under.token}\r\n\r\n`;
  for (let i = 0; i < 40; i++) {
    const socket = await open();
    socket.write(get);
    if (i % 2 === 0) await once(socket, 'data');
    socket.resetAndDestroy();
  }
  await until('no stream is open', async () => (await streamsOpen()) === 0);
});
