import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import { test } from 'node:test';
import { describeLink } from '../../../agent/doctor/link.ts';
import { startLink } from '../../../agent/link/link.ts';
import { NotChecked, Wrong } from '../../../common/checkup.ts';
import { AppError } from '../../../common/errors.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { selfSigned, type TestCertificate } from '../../fakes/certificate.ts';
import { memoryLedger } from '../../fakes/ledger.ts';
import { memoryOutbox } from '../../fakes/outbox.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import {
  memoryForkDesk,
  portOf,
  quickBounds,
  startCollector,
  statement,
  systemClock,
  type TestAgent,
  type TestCollector,
  wiresOfTests,
} from '../../wire.ts';

/** Why a link does not come up, brought about for real, and what doctor says against it. */
const { collector, agent, afterwards } = wiresOfTests();

function enrolled(to: TestCollector, options: Parameters<typeof agent>[1] = {}): TestAgent {
  const keys = generateKeyPair();
  to.nodes.enrol('node1', keys);
  return agent(to, { keys, ...options });
}

/** Waits for the link to be in trouble. @returns what doctor says of it */
async function trouble({ link }: Pick<TestAgent, 'link'>, state = 'refused'): Promise<Wrong> {
  await until(state, () => link.status().state === state && link.status().lastError !== undefined);
  try {
    describeLink(link.status());
  } catch (thrown) {
    assert.ok(thrown instanceof Wrong, String(thrown));
    return thrown;
  }
  throw new Error('nothing is said to be wrong');
}

test('a node whose key was revoked is told so, and how it gets another', async () => {
  const to = await collector();
  const from = enrolled(to);
  await until('connected', () => from.link.status().state === 'connected');
  assert.equal(describeLink(from.link.status()), 'connected');
  to.nodes.revoke('node1');
  to.sockets.disconnect('node1', 'the key of node1 was revoked');
  const { message, fix } = await trouble(from);
  assert.match(message, /^refused: .*\(auth\.revoked\).* revoked/);
  assert.match(fix, /nodes token NODE on the collector.*enroll --force/);
});

test('a node that nobody enrolled there is told so', async () => {
  const { message, fix } = await trouble(agent(await collector()));
  assert.match(message, /^refused: .*\(auth\.signature\): node1 is not enrolled here with the key /);
  assert.match(fix, /nodes token NODE on the collector/);
});

test('a second agent with the same key is told to stop one of the two', async () => {
  const to = await collector();
  const first = enrolled(to);
  await until('connected', () => first.link.status().state === 'connected');
  const { message, fix } = await trouble(agent(to, { keys: first.keys }));
  assert.match(message, /another agent with the key of node1/);
  assert.match(fix, /^stop the other agent that has the key of this node/);
});

test('a collector of another log is told from the one that the node is enrolled with', async () => {
  const to = await collector({ ledger: memoryLedger({ origin: 'other.example/log' }) });
  const from = enrolled({ ...to, ledger: memoryLedger() });
  const { message, fix } = await trouble(from);
  assert.match(message, /speaks for the log other\.example/);
  assert.match(fix, /^set collector\.url in the settings/);
});

test('a database that was put back is to be recovered on the collector', async () => {
  const memory = memoryLedger();
  const checkpoint = (): Promise<never> => Promise.reject(new AppError('ledger.tampered', 'not what was published'));
  const { message, fix } = await trouble(enrolled(await collector({ ledger: { ...memory, checkpoint } })));
  assert.match(message, /\(ledger\.tampered\)/);
  assert.match(fix, /ledger verify on the collector's host/);
});

test('a history that was forked is a finding of its own', async () => {
  const honest = await startCollector();
  const port = honest.port();
  const from = enrolled(honest);
  for (let i = 1; i <= 5; i++) from.outbox.append(statement(i));
  await until('acknowledged', () => from.outbox.depth === 0);
  await honest.close();
  await collector({ ledger: honest.ledger.fork(4), nodes: honest.nodes, port });
  await until('forked', () => from.link.status().state === 'forked');
  assert.throws(
    () => describeLink(from.link.status()),
    (thrown) => thrown instanceof NotChecked && thrown.fix === 'see witness',
  );
});

test('a collector without a protocol in common says which side to upgrade', async () => {
  const message = 'the agent speaks sigilwatch.v1, this collector (0.9.0) sigilwatch.v7: install version 0.9.0';
  const server = http.createServer().on('upgrade', (_request, socket) => {
    const body = JSON.stringify({ error_code: 'state.version', message });
    socket.end(`HTTP/1.1 400 Bad Request\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  afterwards(async () => void server.close());
  const said = await trouble(enrolled(await collector(), { port: portOf(server) }));
  assert.equal(said.message, `refused: ${message}`);
  assert.match(said.fix, /^install the version that it names/);
});

/** What the link says of a collector with this certificate, where `ca` is the authority that counts. */
async function behind({ key, cert }: TestCertificate, ca: string): Promise<Wrong> {
  const server = https.createServer({ key, cert });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  afterwards(async () => void server.close());
  const keys = generateKeyPair();
  const { origin, vkey } = memoryLedger();
  const link = startLink({
    collector: { url: `https://127.0.0.1:${portOf(server)}`, origin, vkey },
    ...{ node: 'node1', version: '0.1.0', keys, ca, outbox: memoryOutbox('node1', keys.privateKey) },
    ...{ forks: memoryForkDesk([]), clock: systemClock, random: Math.random, logger: quietLogger, bounds: quickBounds },
  });
  afterwards(link.stop);
  return trouble({ link }, 'disconnected');
}

test('a certificate that is not believed is told from a clock that is behind', async () => {
  const strange = await behind(selfSigned(), selfSigned().cert);
  assert.equal(strange.fix, 'see what the line "certificate" says');
  const later = selfSigned('localhost', '481231000000Z');
  const early = await behind(later, later.cert);
  assert.match(early.message, /^disconnected: .*not yet valid/);
  assert.match(early.fix, /^set this machine's clock: timedatectl/);
});

test('a collector that is away is told from one that refuses', async () => {
  const to = await startCollector();
  const port = to.port();
  await to.close();
  const { message, fix } = await trouble(agent(to, { port }), 'disconnected');
  assert.match(message, /ECONNREFUSED/);
  assert.match(fix, /^see what the lines of "collector" say/);
});

test('what an agent of an earlier version says without reasons is shown as it is', () => {
  const lastError = { code: 'collector.refused', message: 'the collector refused (auth.revoked): gone', atMs: 0 };
  assert.throws(() => describeLink({ state: 'refused', lastError }), Wrong);
});

test("a clock that is far from the collector's is shown beside a connection that stands", () => {
  const connected = { state: 'connected', lastError: undefined, clockOffsetMs: -86_400_000 } as const;
  assert.equal(describeLink(connected), "connected; the collector's clock is -86400 s away");
});
