import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { Hono } from 'hono';
import { Registry } from 'prom-client';
import { createConnectionBook, createConnections, withRoom } from '../../../collector/http/connections.ts';
import type { HttpEnv } from '../../../collector/http/env.ts';
import { errorAnswer } from '../../../collector/http/errors.ts';
import { createHttpServer } from '../../../collector/http/server.ts';
import { limits } from '../../../common/limits.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { portOf } from '../../wire.ts';

describe('connections', () => {
  test('of one address are cut beyond its limit, and what has left makes room', () => {
    const book = createConnectionBook({ max: 10, perAddress: 2, reserve: 1 });
    assert.deepEqual(
      ['a', 'b', 'c'].map((key) => book.admit(key, '192.0.2.1').is),
      ['open', 'open', 'refused'],
    );
    assert.equal(book.admit('d', '192.0.2.2').is, 'open');
    book.left('a');
    book.left('a');
    assert.equal(book.admit('e', '192.0.2.1').is, 'open');
    assert.equal(book.admit('f', '192.0.2.1').is, 'refused');
    assert.deepEqual(
      Array.from('ghi', (key) => book.admit(key, undefined).is),
      ['open', 'open', 'open'],
    );
    assert.equal(book.open, 6);
  });

  test('beyond the limit of all go into a reserve, in which the oldest makes way for the newest', () => {
    const book = createConnectionBook({ max: 1, perAddress: 9, reserve: 2 });
    assert.equal(book.admit('a', undefined).is, 'open');
    for (const key of ['b', 'c']) assert.deepEqual(book.admit(key, undefined), { is: 'reserve', instead: undefined });
    assert.deepEqual(book.admit('d', undefined), { is: 'reserve', instead: 'b' });
    assert.deepEqual(
      Array.from('abcd', (key) => book.isInReserve(key)),
      [false, false, true, true],
    );
    book.left('a');
    assert.equal(book.admit('e', undefined).is, 'open');
    assert.equal(book.open, 3);
  });
});

const opened: (() => void)[] = [];
afterEach(() => {
  for (const close of opened.splice(0)) close();
});

/** What comes back over a connection of its own, which the other side ends. */
async function asked(port: number, path: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  let text = '';
  for await (const chunk of socket) text += chunk;
  return text;
}

test('while the limit is reached health is told, nothing else is done, and idle strangers in the reserve are pushed out', async () => {
  const max = 3;
  const registry = new Registry();
  const connections = createConnections({ connections: { max, perAddress: 1 }, trustedProxies: [] }, registry);
  const app = new Hono<HttpEnv>();
  app.onError((thrown, c) => errorAnswer(c, thrown, quietLogger));
  app.use(withRoom(connections));
  app.get('/health', (c) => c.json({ status: 'ok' }));
  app.get('/api/v1/nodes', (c) => c.json({ items: [] }));
  const server = createHttpServer(app);
  connections.guard(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  opened.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const idle = Array.from({ length: max + limits.reservedConnections }, () => net.connect(port, '127.0.0.1'));
  for (const socket of idle) {
    socket.on('error', () => {});
    opened.push(() => socket.destroy());
  }
  const told = async () => /^sigilwatch_collector_connections (\d+)$/m.exec(await registry.metrics())?.[1];
  await until('all are open', async () => Number(await told()) === idle.length);
  assert.match(await asked(port, '/health'), /^HTTP\/1\.1 200 [\s\S]*connection: close/i);
  const refused = await asked(port, '/api/v1/nodes');
  assert.match(refused, /^HTTP\/1\.1 503 [\s\S]*state\.busy/);
  assert.match(refused, /retry-after: 1/i);
  for (const socket of idle.slice(0, max)) assert.ok(!socket.closed, 'who came before stays');
  idle[0]?.destroy();
  await until('there is room', async () => {
    const socket = net.connect(port, '127.0.0.1');
    socket.write('GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n');
    const [answer]: Buffer[] = await once(socket, 'data');
    socket.destroy();
    return answer?.toString().startsWith('HTTP/1.1 200') ?? false;
  });
  assert.match(await registry.metrics(), /connections_refused_total\{why="all"\} \d+/);
});
