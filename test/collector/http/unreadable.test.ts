import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { Hono } from 'hono';
import { failure } from '../../../collector/api/contract.ts';
import type { HttpEnv } from '../../../collector/http/env.ts';
import { createHttpServer } from '../../../collector/http/server.ts';

let server: Server;
let port: number;

before(async () => {
  const app = new Hono<HttpEnv>();
  app.onError((_, c) => c.body(null, 500));
  app.get('/', (c) => c.text('read'));
  app.post('/', async (c) => c.text(await c.req.text()));
  app.get('/stream', (c) =>
    c.body(new ReadableStream({ start: (to) => to.enqueue(new TextEncoder().encode('begun')) })),
  );
  server = createHttpServer(app);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});
after(() => server.close());

/** All that comes back for these bytes, until the collector closes. */
async function sent(bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(bytes);
  return text(socket);
}

describe('what is no request', () => {
  const cases: Readonly<Record<string, readonly [bytes: string, status: number]>> = {
    'is not HTTP': ['GARBAGE\r\n\r\n', 400],
    'has a method that nobody knows': ['FOO / HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    'names no host': ['GET / HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    'names a host that is none': ['GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n', 400],
    'is about no path': ['OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
    'has a head without end': [`GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(40_000)}\r\n\r\n`, 431],
    'has two lengths': ['POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    'has a body that breaks off': ['POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 400],
    'expects what nobody has': ['GET / HTTP/1.1\r\nHost: x\r\nExpect: a miracle\r\nConnection: close\r\n\r\n', 417],
  };
  for (const [what, [bytes, status]] of Object.entries(cases)) {
    test(`since it ${what} is answered like every other failure`, async () => {
      const [head = '', body = ''] = (await sent(bytes)).split('\r\n\r\n');
      assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `));
      const told = failure.parse(JSON.parse(body));
      assert.match(told.error_code, /^validation\./);
      assert.match(head, new RegExp(`^x-request-id: ${told.request_id}\\r?$`, 'im'));
      assert.match(head, /^content-type: application\/json/im);
      assert.match(head, /^x-content-type-options: nosniff\r?$/im);
    });
  }

  test('ends an answer that has begun, and puts nothing into it', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /stream HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(socket, 'readable');
    const rest = text(socket).catch(() => '');
    socket.write('GARBAGE\r\n\r\n');
    assert.doesNotMatch(await rest, /error_code/);
  });
});
