import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterEach, test } from 'node:test';
import WebSocket from 'ws';
import { failure } from '../../../collector/api/contract.ts';
import { canonicalBytes } from '../../../common/canonical.ts';
import { genesis, type SignedEntry, sealEntry } from '../../../common/entry.ts';
import { fingerprint, generateKeyPair, type KeyPair, signBytes } from '../../../common/keys.ts';
import type { Statement } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import {
  type AgentMessage,
  type CollectorMessage,
  collectorMessage,
  handshakeBytes,
  type MessageOf,
  parseMessage,
  socketPath,
  subprotocol,
  toWire,
} from '../../../common/protocol.ts';
import { memoryOutbox } from '../../fakes/outbox.ts';
import { until } from '../../until.ts';
import { startCollector, statement, type TestCollector } from '../../wire.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function collector(options: Parameters<typeof startCollector>[0] = {}): Promise<TestCollector> {
  const started = await startCollector(options);
  cleanups.push(started.close);
  return started;
}

interface RawAgent {
  readonly socket: WebSocket;
  readonly keys: KeyPair;
  readonly received: CollectorMessage[];
  /** Close code, once closed. */
  closed(): number | undefined;
  send(message: AgentMessage): void;
  next<T extends CollectorMessage['type']>(type: T): Promise<MessageOf<CollectorMessage, T>>;
}

function isOf<T extends CollectorMessage['type']>(
  message: CollectorMessage,
  type: T,
): message is MessageOf<CollectorMessage, T> {
  return message.type === type;
}

/** A socket that does exactly what the test says. */
async function rawAgent(to: TestCollector, protocol = subprotocol): Promise<RawAgent> {
  const socket = new WebSocket(`ws://127.0.0.1:${to.port()}${socketPath}`, protocol, { perMessageDeflate: false });
  const received: CollectorMessage[] = [];
  let code: number | undefined;
  let taken = 0;
  socket.on('message', (data) => received.push(parseMessage(collectorMessage, data.toString())));
  socket.on('close', (closeCode) => {
    code = closeCode;
  });
  socket.on('error', () => {});
  cleanups.push(async () => socket.terminate());
  await once(socket, 'open');
  return {
    socket,
    received,
    keys: generateKeyPair(),
    closed: () => code,
    send: (message) => socket.send(JSON.stringify(message)),
    next: async (type) => {
      await until(`a ${type} message`, () => received.length > taken);
      const message = received[taken];
      taken += 1;
      if (message === undefined || !isOf(message, type))
        throw new Error(`expected ${type}, got ${JSON.stringify(message)}`);
      return message;
    },
  };
}

function hello({ keys }: RawAgent, node = 'node1'): MessageOf<AgentMessage, 'hello'> {
  return { type: 'hello', node, fingerprint: fingerprint(keys.publicKey), version: '0.1.0', checkpoint: null };
}

/** An agent past the handshake. */
async function welcomedAgent(to: TestCollector, node = 'node1', version = '0.1.0'): Promise<RawAgent> {
  const agent = await rawAgent(to);
  to.nodes.enrol(node, agent.keys);
  agent.send({ ...hello(agent, node), version });
  const challenge = await agent.next('challenge');
  agent.send({ type: 'proof', signature: proofOf(agent, challenge, node) });
  await agent.next('welcome');
  return agent;
}

function proofOf({ keys }: RawAgent, challenge: { nonce: string; origin: string }, node: string): string {
  return signBytes(keys.privateKey, handshakeBytes(challenge, node)).toString('base64');
}

function append(...entries: readonly Pick<SignedEntry, 'bytes' | 'signature'>[]): AgentMessage {
  return { type: 'append', entries: entries.map(toWire) };
}

function entryBy(keys: KeyPair, said: Statement, author = 'node1'): SignedEntry {
  return sealEntry(said, { author, head: genesis, now: 1_700_000_000_000, privateKey: keys.privateKey });
}

function spaced({ entry }: SignedEntry, keys: KeyPair): Pick<SignedEntry, 'bytes' | 'signature'> {
  const bytes = Buffer.from(canonicalBytes(entry).toString().replace('{', '{ '));
  return { bytes, signature: signBytes(keys.privateKey, bytes) };
}

interface Attack {
  readonly name: string;
  readonly code: string;
  /** `welcomed` unless the attack comes before the handshake is over. */
  readonly from?: 'stranger';
  readonly act: (agent: RawAgent) => void | Promise<void>;
}

const said = statement(1);
const attacks: readonly Attack[] = [
  { name: 'garbage', code: 'validation.protocol', act: ({ socket }) => socket.send('\u0000{{{') },
  {
    name: 'garbage from a stranger',
    code: 'validation.protocol',
    from: 'stranger',
    act: ({ socket }) => socket.send('x'),
  },
  {
    name: 'JSON that is no message',
    code: 'validation.protocol',
    act: ({ socket }) => socket.send('{"type":"order"}'),
  },
  { name: 'deep nesting', code: 'validation.protocol', act: ({ socket }) => socket.send('['.repeat(500_000)) },
  { name: 'a binary frame', code: 'validation.protocol', act: ({ socket }) => socket.send(Buffer.from('{}')) },
  {
    name: 'a member too many',
    code: 'validation.protocol',
    act: ({ socket }) => socket.send('{"type":"append","entries":[],"x":1}'),
  },
  {
    name: 'an oversized frame',
    code: 'validation.protocol',
    act: ({ socket }) => socket.send('x'.repeat(limits.maxFrameBytes + 1)),
  },
  {
    name: 'a frame in thousands of pieces',
    code: 'validation.protocol',
    act: ({ socket }) => {
      for (let i = 0; i <= limits.maxFrameFragments; i++) socket.send('x', { fin: false });
    },
  },
  {
    name: 'entries before the handshake',
    code: 'validation.protocol',
    from: 'stranger',
    act: (agent) => agent.send(append(entryBy(agent.keys, said))),
  },
  { name: 'a second hello', code: 'validation.protocol', act: (agent) => agent.send(hello(agent)) },
  {
    name: 'a node nobody enrolled',
    code: 'auth.signature',
    from: 'stranger',
    act: async (agent) => {
      agent.send(hello(agent, 'nobody'));
      agent.send({ type: 'proof', signature: proofOf(agent, await agent.next('challenge'), 'nobody') });
    },
  },
  {
    name: 'the name of the collector',
    code: 'auth.signature',
    from: 'stranger',
    act: async (agent) => {
      agent.send(hello(agent, 'collector'));
      agent.send({ type: 'proof', signature: proofOf(agent, await agent.next('challenge'), 'collector') });
    },
  },
  {
    name: 'a proof over another nonce',
    code: 'auth.signature',
    from: 'stranger',
    act: async (agent) => {
      agent.send(hello(agent));
      const { origin } = await agent.next('challenge');
      agent.send({
        type: 'proof',
        signature: proofOf(agent, { origin, nonce: Buffer.alloc(32).toString('base64') }, 'node1'),
      });
    },
  },
  {
    name: 'an entry of another author',
    code: 'auth.signature',
    act: (agent) => agent.send(append(entryBy(agent.keys, said, 'node2'))),
  },
  {
    name: 'a kind only the collector states',
    code: 'validation.entry',
    act: (agent) => {
      const body = { event: 'login', actor: 'root', subject: 'x', detail: '' };
      agent.send(append(entryBy(agent.keys, { kind: 'auth.event', body })));
    },
  },
  {
    name: 'a signature by another key',
    code: 'auth.signature',
    act: (agent) => agent.send(append(entryBy(generateKeyPair(), said))),
  },
  {
    name: 'bytes that are not canonical',
    code: 'validation.entry',
    act: (agent) => agent.send(append(spaced(entryBy(agent.keys, said), agent.keys))),
  },
  {
    name: 'a gap in the author chain',
    code: 'ledger.sequence',
    act: (agent) => {
      const outbox = memoryOutbox('node1', agent.keys.privateKey);
      outbox.append(said);
      agent.send(append(outbox.append(said)));
    },
  },
  {
    name: 'two entries under one number',
    code: 'ledger.equivocation',
    act: async (agent) => {
      agent.send(append(entryBy(agent.keys, said)));
      await agent.next('ack');
      agent.send(append(entryBy(agent.keys, statement(2))));
    },
  },
];

for (const { name, code, from, act } of attacks) {
  test(`${name} is refused as ${code}, and nobody else notices`, async () => {
    const to = await collector();
    const neighbour = await welcomedAgent(to, 'lyra');
    const attacker = from === 'stranger' ? await rawAgent(to) : await welcomedAgent(to);
    if (from === 'stranger') to.nodes.enrol('node1', attacker.keys);
    await act(attacker);
    await until('closed', () => attacker.closed() !== undefined);
    assert.deepEqual(to.refusals, [code]);
    assert.ok(to.events.some(({ event, fields }) => event === 'session.refused' && fields.code === code));
    const refused = attacker.received.at(-1);
    // Where the socket itself gives up there is only the close code.
    if (refused?.type === 'refused') assert.equal(refused.code, code);
    else assert.ok([1009, 1008].includes(attacker.closed() ?? 0), `${attacker.closed()}`);
    neighbour.send(append(entryBy(neighbour.keys, said, 'lyra')));
    const ack = await neighbour.next('ack');
    assert.deepEqual(
      ack.entries.map(({ seq }) => seq),
      [1],
    );
    assert.deepEqual(
      to.sockets.sessions().map(({ node }) => node),
      ['lyra'],
    );
  });
}

test('nothing of a batch with one bad entry reaches the ledger', async () => {
  const to = await collector();
  const agent = await welcomedAgent(to);
  const outbox = memoryOutbox('node1', agent.keys.privateKey);
  const [first, second] = [outbox.append(said), outbox.append(said)];
  agent.send(append(first, { bytes: second.bytes, signature: first.signature }));
  await until('closed', () => agent.closed() !== undefined);
  assert.equal(to.ledger.entries.length, 0);
});

test('an entry that an agent of a later version says and nobody here knows is refused with what to upgrade, unlogged', async () => {
  const to = await collector();
  const agent = await welcomedAgent(to, 'node1', '99.0.0');
  const later = { ...entryBy(agent.keys, said).entry, kind: 'moon.phase', body: { full: true } };
  const bytes = canonicalBytes(later);
  agent.send(append({ bytes, signature: signBytes(agent.keys.privateKey, bytes) }));
  const { code, message, retryable } = await agent.next('refused');
  assert.deepEqual([code, retryable], ['state.version', false]);
  assert.match(message, /agent is of version 99\.0\.0 .* upgrade the collector\. Entries stay on the node/);
  assert.deepEqual([to.ledger.entries.length, to.refusals], [0, ['state.version']]);
});

test('an upgrade elsewhere or without the subprotocol is turned away', async () => {
  const to = await collector();
  const refusedBy = async (path: string, protocols: string[]) => {
    const socket = new WebSocket(`ws://127.0.0.1:${to.port()}${path}`, protocols);
    const answer = await new Promise<IncomingMessage>((resolve) => {
      socket.once('unexpected-response', (_, came) => resolve(came));
    });
    return [answer.statusCode, failure.parse(JSON.parse(await text(answer))).error_code];
  };
  assert.deepEqual(await refusedBy('/elsewhere', [subprotocol]), [404, 'resource.not_found']);
  assert.deepEqual(await refusedBy(socketPath, ['chat']), [400, 'validation.protocol']);
  assert.deepEqual(await refusedBy(socketPath, []), [400, 'validation.protocol']);
});

test('strangers who hold all places lose the oldest to a newcomer, and no agent loses its session', async () => {
  const to = await collector({ bounds: { maxUnauthenticatedSockets: 2 } });
  const lyra = await welcomedAgent(to, 'lyra');
  const strangers = [await rawAgent(to), await rawAgent(to)];
  for (const { socket } of strangers) socket.pause();
  await welcomedAgent(to, 'node1');
  await until('the oldest is gone', () => to.refusals.includes('rate_limit.exceeded'));
  strangers.push(await rawAgent(to));
  for (const { socket } of strangers) socket.resume();
  await until('closed', () => strangers[0]?.closed() !== undefined);
  assert.deepEqual(
    strangers.map(({ closed }) => closed() === undefined),
    [false, true, true],
  );
  assert.deepEqual(to.refusals, ['rate_limit.exceeded']);
  assert.deepEqual(
    to.sockets.sessions().map(({ node }) => node),
    ['lyra', 'node1'],
  );
  assert.equal(lyra.closed(), undefined);
});

test('whoever has proved nothing is heard no longer than a greeting takes, not even within a frame', async () => {
  const to = await collector();
  const stranger = await rawAgent(to);
  stranger.socket.send('x'.repeat(limits.maxStrangerBytes / 2), { fin: false });
  const endless = await rawAgent(to);
  endless.socket.send('x'.repeat(limits.maxStrangerBytes + 1), { fin: false });
  await until('closed', () => endless.closed() !== undefined);
  assert.equal(stranger.closed(), undefined);
  assert.deepEqual(to.refusals, ['validation.protocol']);
});

test('a fleet behind one address that comes back in one instant is let in, all of it', async () => {
  const to = await collector();
  const names = Array.from({ length: 200 }, (_, at) => `node${at + 1}`);
  await Promise.all(names.map((name) => welcomedAgent(to, name)));
  assert.equal(to.sockets.sessions().length, names.length);
  assert.deepEqual(to.refusals, []);
});

test('what an agent sends once it is known counts for nothing here', async () => {
  const to = await collector();
  const lyra = await welcomedAgent(to, 'lyra');
  lyra.socket.send('x'.repeat(limits.maxStrangerBytes), { fin: false });
  lyra.socket.send('x'.repeat(limits.maxStrangerBytes), { fin: false });
  await welcomedAgent(to, 'node1');
  assert.deepEqual(to.refusals, []);
  assert.equal(lyra.closed(), undefined);
});

test('whoever proves nothing in time is closed', async () => {
  const to = await collector({ bounds: { handshakeTimeoutMs: 50 } });
  const silent = await rawAgent(to);
  const halfway = await rawAgent(to);
  halfway.send(hello(halfway));
  for (const { closed } of [silent, halfway]) await until('closed', () => closed() !== undefined);
  assert.deepEqual(to.refusals, ['auth.required', 'auth.required']);
});

test('a flood is slowed to the rate, not refused and not lost', async () => {
  const to = await collector({ bounds: { maxEntriesPerSecondPerNode: 1_000, entryBurst: 100 } });
  const agent = await welcomedAgent(to);
  const outbox = memoryOutbox('node1', agent.keys.privateKey);
  const startedMs = performance.now();
  for (let i = 0; i < 60; i++) agent.send(append(...Array.from({ length: 10 }, () => outbox.append(said))));
  await until('all in the ledger', () => to.ledger.entries.length === 600);
  const elapsedMs = performance.now() - startedMs;
  assert.ok(elapsedMs >= 480, `600 entries in ${elapsedMs} ms`);
  assert.deepEqual(to.refusals, []);
});

test('a flood of few large entries is slowed too', async () => {
  const text = 'x'.repeat(2_000);
  const stuffed: Statement = { kind: 'outbox.recovered', body: { reason: text, salvaged: 1, quarantine: text } };
  const bounds = { maxExcessBytesPerSecondPerNode: 400_000, excessBurstBytes: 40_000 };
  const to = await collector({ bounds });
  const agent = await welcomedAgent(to);
  const outbox = memoryOutbox('node1', agent.keys.privateKey);
  const startedMs = performance.now();
  const frames = Array.from({ length: 6 }, () => append(...Array.from({ length: 10 }, () => outbox.append(stuffed))));
  const excess = JSON.stringify(frames).length - 60 * limits.freeFrameBytesPerEntry;
  for (const frame of frames) agent.send(frame);
  await until('all in the ledger', () => to.ledger.entries.length === 60);
  const elapsedMs = performance.now() - startedMs;
  const leastMs = (excess - bounds.excessBurstBytes) / 400;
  assert.ok(leastMs > 200 && elapsedMs >= leastMs * 0.9, `${excess} bytes in ${elapsedMs} ms`);
  assert.deepEqual(to.refusals, []);
});

test('an agent that does not answer pings is given up, and one that took its place is served', async () => {
  const to = await collector({ bounds: { incumbentProbeMs: 100 } });
  const frozen = await welcomedAgent(to);
  frozen.socket.pause();
  const newcomer = await rawAgent(to);
  to.nodes.enrol('node1', newcomer.keys);
  newcomer.send(hello(newcomer));
  newcomer.send({ type: 'proof', signature: proofOf(newcomer, await newcomer.next('challenge'), 'node1') });
  await newcomer.next('welcome');
  assert.equal(to.sockets.sessions().length, 1);
  assert.deepEqual(to.refusals, ['state.conflict']);

  const impatient = await collector({ bounds: { pingIntervalMs: 500, pongTimeoutMs: 500 } });
  const mute = await welcomedAgent(impatient);
  mute.socket.pause();
  await until('given up', () => impatient.sockets.sessions().length === 0);
});
