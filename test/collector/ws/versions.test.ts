import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { text } from 'node:stream/consumers';
import { afterEach, test } from 'node:test';
import WebSocket from 'ws';
import { versionHeader } from '../../../common/negotiation.ts';
import { socketPath } from '../../../common/protocol.ts';
import { version } from '../../../common/version.ts';
import { until } from '../../until.ts';
import { portOf, startAgent, startCollector, statement, type TestAgent, type TestCollector } from '../../wire.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function collector(): Promise<TestCollector> {
  const started = await startCollector();
  cleanups.push(started.close);
  return started;
}

function agent(to: TestCollector, options: Parameters<typeof startAgent>[1] = {}): TestAgent {
  const started = startAgent(to, options);
  to.nodes.enrol('node1', started.keys);
  cleanups.push(started.link.stop);
  return started;
}

/** Turns every upgrade away as told, as a collector of another version does. */
async function turningAway(status: number, body: string): Promise<number> {
  const server = http.createServer();
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => {});
    socket.end(
      `HTTP/1.1 ${status} No\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    server.close();
    server.closeAllConnections();
  });
  return portOf(server);
}

test('a connected agent says which version and protocol its collector has', async () => {
  const to = await collector();
  const { link } = agent(to);
  assert.equal(link.status().collector, null);
  await until('connected', () => link.status().state === 'connected');
  assert.deepEqual(link.status().collector, { version, protocol: 'sigilwatch.v1' });
});

test('an agent that speaks more protocols than the collector gets one that both speak', async () => {
  const to = await collector();
  const socket = new WebSocket(`ws://127.0.0.1:${to.port()}${socketPath}`, ['sigilwatch.v2', 'sigilwatch.v1']);
  cleanups.push(async () => socket.terminate());
  await once(socket, 'open');
  assert.equal(socket.protocol, 'sigilwatch.v1');
});

test('an agent without a protocol in common is turned away with what to upgrade, and counted', async () => {
  const to = await collector();
  const socket = new WebSocket(`ws://127.0.0.1:${to.port()}${socketPath}`, ['sigilwatch.v9', 'sigilwatch.v8']);
  const answer = await new Promise<http.IncomingMessage>((resolve) => {
    socket.once('unexpected-response', (_, came) => resolve(came));
  });
  assert.equal(answer.statusCode, 400);
  assert.equal(answer.headers[versionHeader], version);
  const body: unknown = JSON.parse(await text(answer));
  assert.ok(typeof body === 'object' && body !== null && 'error_code' in body && 'message' in body);
  assert.equal(body.error_code, 'state.version');
  assert.match(String(body.message), /upgrade the collector/);
  assert.deepEqual(to.refusals, ['state.version']);
});

test('an agent that a newer collector turns away says what to upgrade, keeps its entries, and gets through later', async () => {
  const to = await collector();
  const why =
    'the agent speaks sigilwatch.v1, this collector (0.9.0) sigilwatch.v7: install version 0.9.0 of the agent there';
  const port = await turningAway(400, JSON.stringify({ error_code: 'state.version', message: why, details: {} }));
  const from = agent(to, { port });
  from.outbox.append(statement(1));
  await until('refused', () => from.link.status().state === 'refused');
  assert.deepEqual(
    [from.link.status().lastError?.code, from.link.status().lastError?.message],
    ['collector.refused', why],
  );
  assert.equal(from.outbox.depth, 1);
  await from.link.stop();
  const again = agent(to, { keys: from.keys, outbox: from.outbox });
  await until('acknowledged', () => again.outbox.depth === 0);
});

test('a collector from before negotiation that lacks the protocol is told from one that is away', async () => {
  const to = await collector();
  const said = 'ask for the subprotocol sigilwatch.v0 (Sec-WebSocket-Protocol)';
  const before = agent(to, {
    port: await turningAway(400, JSON.stringify({ error_code: 'validation.protocol', message: said })),
  });
  await until('refused', () => before.link.status().state === 'refused');
  assert.match(before.link.status().lastError?.message ?? '', /collector does not: upgrade it/);
});

for (const [what, status, body] of [
  ['is busy', 503, JSON.stringify({ error_code: 'state.busy', message: 'later' })],
  ['is a proxy', 400, '<html>no</html>'],
  ['says too much', 400, `{"error_code":"state.version","message":"${'x'.repeat(9_000)}"}`],
] as const) {
  test(`who answers an upgrade but ${what} counts as away`, async () => {
    const to = await collector();
    const { link } = agent(to, { port: await turningAway(status, body) });
    await until('tried', () => link.status().lastError !== undefined);
    assert.equal(link.status().state === 'refused', false);
    assert.equal(link.status().lastError?.code, 'collector.unreachable');
    assert.match(link.status().lastError?.message ?? '', new RegExp(String(status)));
  });
}
