import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../common/errors.ts';
import { generateKeyPair } from '../../common/keys.ts';
import { memoryLedger } from '../fakes/ledger.ts';
import { memoryOutbox } from '../fakes/outbox.ts';
import { until } from '../until.ts';
import {
  type startAgent,
  startCollector,
  statement,
  type TestAgent,
  type TestCollector,
  wiresOfTests,
} from '../wire.ts';

const wires = wiresOfTests();
const { collector } = wires;

function agent(to: TestCollector, options: Parameters<typeof startAgent>[1] = {}): TestAgent {
  const node = options.node ?? 'node1';
  const keys = options.keys ?? generateKeyPair();
  if (options.keys === undefined) to.nodes.enrol(node, keys);
  return wires.agent(to, { ...options, node, keys });
}

const state = ({ link }: TestAgent) => link.status().state;
const seqs = ({ ledger }: TestCollector) => ledger.entries.map(({ entry }) => `${entry.author}/${entry.seq}`);
const upTo = (node: string, count: number) => Array.from({ length: count }, (_, i) => `${node}/${i + 1}`);

test('what waits in the outbox reaches the ledger in order, and leaves the outbox once that is proved', async () => {
  const to = await collector();
  const from = agent(to);
  for (let i = 1; i <= 1_500; i++) from.outbox.append(statement(i));
  await until('the outbox is empty', () => from.outbox.depth === 0);
  assert.deepEqual(seqs(to), upTo('node1', 1_500));
  assert.equal(from.link.status().ackedSeq, 1_500);
  assert.equal(to.counts.acknowledged, 1_500);
  assert.equal(from.outbox.checkpoint(), (await to.ledger.checkpoint()).note);
});

test('an entry appended while connected is sent at once', async () => {
  const to = await collector();
  const from = agent(to);
  await until('connected', () => state(from) === 'connected');
  from.outbox.append(statement(1));
  await until('acknowledged', () => from.outbox.depth === 0);
  from.outbox.append(statement(2));
  await until('acknowledged', () => from.outbox.depth === 0);
  assert.deepEqual(seqs(to), upTo('node1', 2));
});

test('the clock difference is measured at the welcome', async () => {
  const to = await collector();
  const behind = { now: () => Date.now() - 90_000, monotonicMs: () => performance.now() };
  const from = agent(to, { clock: behind });
  await until('connected', () => state(from) === 'connected');
  const offsetMs = from.link.status().clockOffsetMs ?? 0;
  assert.ok(Math.abs(offsetMs - 90_000) < 5_000, `${offsetMs}`);
});

test('a collector that comes late, goes and comes back gets everything once', async () => {
  const first = await startCollector();
  const port = first.port();
  const from = agent(first, { node: 'lyra' });
  for (let i = 1; i <= 20; i++) from.outbox.append(statement(i));
  await until('acknowledged', () => from.outbox.depth === 0);
  await first.close();
  await until('noticed', () => state(from) !== 'connected');
  for (let i = 21; i <= 40; i++) from.outbox.append(statement(i));
  const second = await collector({ ledger: first.ledger, nodes: first.nodes, port });
  await until('acknowledged', () => from.outbox.depth === 0);
  assert.deepEqual(seqs(second), upTo('lyra', 40));
});

test('a busy ledger and a reply lost on the way to it slow the session down and lose nothing', async () => {
  const to = await collector();
  to.ledger.busy(3);
  const from = agent(to);
  for (let i = 1; i <= 300; i++) from.outbox.append(statement(i));
  await until('acknowledged', () => from.outbox.depth === 0);
  to.ledger.loseReply();
  for (let i = 301; i <= 600; i++) from.outbox.append(statement(i));
  await until('acknowledged', () => from.outbox.depth === 0);
  assert.deepEqual(seqs(to), upTo('node1', 600));
  assert.equal(to.counts.opened, 1);
});

test('a second agent with the same key is refused while the first is alive', async () => {
  const to = await collector();
  const first = agent(to);
  await until('connected', () => state(first) === 'connected');
  const second = agent(to, { keys: first.keys });
  await until('refused', () => second.link.status().lastError !== undefined);
  assert.equal(second.link.status().lastError?.code, 'collector.refused');
  assert.match(second.link.status().lastError?.message ?? '', /state\.conflict/);
  assert.equal(state(second), 'refused');
  assert.equal(state(first), 'connected');
  assert.equal(to.sockets.sessions().length, 1);
  await first.link.stop();
  await until('its turn', () => state(second) === 'connected');
});

test('a node that is revoked is cut off within a second, stays refused and says so once', async () => {
  const to = await collector();
  const from = agent(to);
  await until('connected', () => state(from) === 'connected');
  to.nodes.revoke('node1');
  to.sockets.disconnect('node1', 'the key of node1 was revoked');
  await until('cut off', () => state(from) === 'refused');
  await until('tried again', () => to.refusals.length >= 4);
  assert.equal(state(from), 'refused');
  assert.equal(to.sockets.sessions().length, 0);
  assert.equal(
    to.refusals.every((code) => code === 'auth.revoked'),
    true,
  );
});

test('an agent whose collector lost what it published says that it is refused, and goes on once it is back', async () => {
  const memory = memoryLedger();
  let lost = true;
  const checkpoint = async () => {
    if (lost) throw new AppError('ledger.tampered', 'not what was published');
    return memory.checkpoint();
  };
  const to = await collector({ ledger: { ...memory, checkpoint } });
  const from = agent(to);
  from.outbox.append(statement(1));
  await until('refused', () => state(from) === 'refused');
  assert.match(from.link.status().lastError?.message ?? '', /ledger\.tampered/);
  await until('tried again', () => to.refusals.length >= 3);
  assert.equal(state(from), 'refused', 'not forgotten while it tries');
  lost = false;
  await until('acknowledged', () => from.outbox.depth === 0);
  assert.equal(state(from), 'connected');
});

test('an agent nobody enrolled, or with another key, is refused and keeps its entries', async () => {
  const to = await collector();
  const unknown = agent(to, { node: 'stranger', keys: generateKeyPair() });
  to.nodes.enrol('node1', generateKeyPair());
  const impostor = agent(to, { node: 'node1', keys: generateKeyPair() });
  impostor.outbox.append(statement(1));
  for (const who of [unknown, impostor]) {
    await until('refused', () => state(who) === 'refused');
    assert.match(who.link.status().lastError?.message ?? '', /auth\.signature/);
  }
  assert.equal(impostor.outbox.depth, 1);
  assert.deepEqual(seqs(to), []);
});

test('a ledger that was rolled back or forked is never sent to again, and both checkpoints are evidence', async () => {
  for (const damage of ['rolled back', 'forked'] as const) {
    const honest = await startCollector();
    const port = honest.port();
    const from = agent(honest);
    for (let i = 1; i <= 5; i++) from.outbox.append(statement(i));
    await until('acknowledged', () => from.outbox.depth === 0);
    await honest.close();
    const held = from.outbox.checkpoint();
    const ledger = honest.ledger.fork(damage === 'forked' ? 3 : 4);
    if (damage === 'forked') {
      const other = memoryOutbox('node2', generateKeyPair().privateKey);
      await ledger.append([1, 2, 3].map((i) => other.append(statement(i))));
    }
    await collector({ ledger, nodes: honest.nodes, port });
    from.outbox.append(statement(6));
    await until('forked', () => state(from) === 'forked');
    assert.equal(from.forks.length, 1);
    const offered = (await ledger.checkpoint()).note;
    assert.deepEqual([from.forks[0]?.body.held, from.forks[0]?.body.offered], [held, offered]);
    assert.match(
      from.forks[0]?.body.reason ?? '',
      damage === 'forked' ? /does not lead to the root/ : /rolled back from 5 to 4/,
    );
    assert.equal(from.outbox.depth, 1);
    assert.equal(from.link.status().lastError?.code, 'ledger.forked');
  }
});

test('a collector with another log than the one enrolled with gets no signature out of the agent', async () => {
  const to = await collector({ ledger: memoryLedger({ origin: 'evil.example/log' }) });
  const enrolledWith = memoryLedger();
  const from = agent({ ...to, ledger: enrolledWith });
  await until('refused', () => state(from) === 'refused');
  assert.match(from.link.status().lastError?.message ?? '', /speaks for the log evil\.example/);
});
