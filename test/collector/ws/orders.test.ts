import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { createBundleParts } from '../../../agent/link/bundle-parts.ts';
import { createWitness } from '../../../agent/link/witness.ts';
import { readIssued } from '../../../agent/orders/issued.ts';
import type { OrderDispatch } from '../../../collector/enforcement/ports.ts';
import { createCheckpointStream } from '../../../collector/ws/checkpoint-stream.ts';
import { openCheckpoint } from '../../../common/checkpoint.ts';
import { AppError, toAppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { leafHash } from '../../../common/merkle.ts';
import { parseNote, parseVerifierKey } from '../../../common/note.ts';
import { verifyInclusion } from '../../../common/proof.ts';
import { type CollectorMessage, collectorMessage, fromWire, type MessageOf } from '../../../common/protocol.ts';
import { testAuthor } from '../../authors.ts';
import { type MemoryLedger, memoryLedger } from '../../fakes/ledger.ts';
import { quietRounds } from '../../fakes/rounds.ts';
import { until } from '../../until.ts';
import { startAgent, startCollector, statement } from '../../wire.ts';

/** A stream whose messages are kept, over a ledger in which `count` entries are. */
async function bench(count = 5) {
  const ledger = memoryLedger();
  const author = testAuthor('node1');
  const places = await ledger.append(author.more(count));
  const rounds = quietRounds();
  const sent: CollectorMessage[] = [];
  const failures: string[] = [];
  const gate = { send: async (): Promise<void> => {} };
  const stream = createCheckpointStream({
    ...{ ledger, rounds, startSize: 0 },
    send: async (message) => {
      // What leaves is what the other side takes.
      sent.push(collectorMessage.parse(message));
      await gate.send();
    },
    acknowledged: () => {},
    fail: (thrown) => failures.push(toAppError(thrown).code),
  });
  return { ledger, author, places, rounds, sent, failures, gate, stream };
}

const dispatchOf = (index: number): OrderDispatch => ({ hash: `${index}`.padStart(64, '0'), index, approvals: [] });

const codeOf = (code: string) => (thrown: unknown) => thrown instanceof AppError && thrown.code === code;

const ordersIn = (sent: readonly CollectorMessage[]): MessageOf<CollectorMessage, 'order'>[] =>
  sent.flatMap((message) => (message.type === 'order' ? [message] : []));

const typesOf = (sent: readonly CollectorMessage[]) => sent.map(({ type }) => type);

async function roundOf(ledger: MemoryLedger) {
  const { size, note } = await ledger.checkpoint();
  return { size, note, text: parseNote(note).text };
}

test('every order proves its entry in a checkpoint that continues the last one told', async () => {
  const { ledger, author, places, sent, stream } = await bench();
  const witness = createWitness(parseVerifierKey(ledger.vkey), undefined);
  stream.order(dispatchOf(3));
  await until('sent', () => sent.length === 1);
  stream.acknowledge({ places, receivedMs: 0 });
  await until('acknowledged', () => sent.length === 2);
  await ledger.append(author.more(4));
  const [leaf] = ledger.entries.slice(7);
  stream.order({ ...dispatchOf(7), leaf });
  stream.order(dispatchOf(2));
  await until('sent', () => sent.length === 4);
  for (const message of sent) {
    if (message.type !== 'order' && message.type !== 'ack') throw new Error('something else was told');
    const { note, consistency } = message.checkpoint;
    witness.accept({ note, consistency: consistency.map((hash) => Buffer.from(hash, 'base64')) });
    if (message.type !== 'order') continue;
    const { bytes, signature } = fromWire(message.entry);
    assert.deepEqual(bytes, ledger.entries[message.index]?.bytes);
    verifyInclusion({
      ...openCheckpoint(note, parseVerifierKey(ledger.vkey)).checkpoint,
      index: message.index,
      leafHash: leafHash(bytes, signature),
      proof: message.hashes.map((hash) => Buffer.from(hash, 'base64')),
    });
  }
  assert.deepEqual(
    ordersIn(sent).map(({ index }) => index),
    [3, 7, 2],
  );
});

test('an order that witnesses have seen brings what they cosigned, whatever the agent has been told of since', async () => {
  const { ledger, author, sent, stream, places } = await bench();
  const key = parseVerifierKey(ledger.vkey);
  const witness = createWitness(key, undefined);
  const cosigned = await ledger.checkpoint();
  await ledger.append(author.more(6));
  stream.acknowledge({ places, receivedMs: 0 });
  await until('told of more', () => sent.length === 1);
  stream.order({ ...dispatchOf(3), witnessed: cosigned });
  // Nobody has been told of what the witnesses of the next one have seen.
  await ledger.append(author.more(2));
  const newest = await ledger.checkpoint();
  stream.order({ ...dispatchOf(12), witnessed: newest });
  await until('sent', () => sent.length === 3);
  for (const message of sent) {
    if (message.type !== 'order' && message.type !== 'ack') throw new Error('something else was told');
    const read = (hashes: readonly string[]) => hashes.map((hash) => Buffer.from(hash, 'base64'));
    const { note, consistency } = message.checkpoint;
    const checkpoint = witness.accept({ note, consistency: read(consistency) });
    if (message.type !== 'order') continue;
    const { witnessed } = message;
    assert.ok(witnessed);
    const earlier = witness.recall({ note: witnessed.note, consistency: read(witnessed.consistency) });
    assert.equal(earlier.checkpoint.size, message.index === 3 ? 5 : 13);
    const states = { checkpoint, witnessed: earlier };
    const unproved = (changed: Partial<typeof witnessed>) => () =>
      readIssued({ ...message, witnessed: { ...witnessed, ...changed } }, states, key.publicKey);
    assert.throws(unproved({}), codeOf('validation.protocol'), 'it is in both trees, and only then it is read');
    assert.throws(unproved({ hashes: [] }), codeOf('ledger.proof'));
  }
});

test('an order goes before the acks that wait, after the checkpoint that a round offers', async () => {
  const { ledger, author, places, rounds, sent, stream } = await bench();
  let settle = (): void => {};
  rounds.forming = new Promise<void>((resolve) => {
    settle = resolve;
  });
  stream.acknowledge({ places, receivedMs: 0 });
  const round = await roundOf(ledger);
  await ledger.append(author.more(1));
  stream.order(dispatchOf(5));
  await setImmediate();
  assert.deepEqual(sent, [], 'the agent could not cosign any more');
  stream.offer(round);
  rounds.forming = undefined;
  settle();
  await until('told', () => sent.length === 3);
  assert.deepEqual(typesOf(sent), ['checkpoint', 'order', 'ack']);
  assert.equal(rounds.misses, 0);
});

test('an order that waits already is sent once, with the approvals it has by then', async () => {
  const { sent, gate, stream } = await bench();
  let release = (): void => {};
  gate.send = () =>
    new Promise((resolve) => {
      release = resolve;
    });
  stream.order(dispatchOf(0));
  await until('on its way', () => sent.length === 1);
  stream.order(dispatchOf(1));
  const approvals = [{ approver: 'ada', signature: 'signed' }];
  stream.order({ ...dispatchOf(1), approvals });
  gate.send = async () => {};
  release();
  await until('sent', () => sent.length === 2);
  await setImmediate();
  assert.deepEqual(
    ordersIn(sent).map((order) => [order.index, order.approvals]),
    [
      [0, []],
      [1, approvals],
    ],
  );
});

test('a node that does not read gets no more orders than it can be owed', async () => {
  const { sent, gate, stream, failures } = await bench();
  gate.send = () => new Promise(() => {});
  assert.ok(stream.order(dispatchOf(0)));
  await until('on its way', () => sent.length === 1);
  const taken = Array.from({ length: limits.maxOrdersDispatched + 5 }, (_, i) => stream.order(dispatchOf(i + 1)));
  assert.equal(taken.filter(Boolean).length, limits.maxOrdersDispatched);
  assert.ok(stream.order(dispatchOf(1)), 'one that waits already');
  assert.deepEqual(failures, []);
});

test('an order whose entry is not kept any more is not sent, and does not end the session', async () => {
  const { sent, failures, stream } = await bench();
  stream.order(dispatchOf(99));
  stream.order(dispatchOf(1));
  await until('sent', () => sent.length === 1);
  assert.deepEqual([ordersIn(sent)[0]?.index, failures], [1, []]);
});

test('a commit is handed over behind orders, and a newer one takes the place of one that waits', async () => {
  const { sent, gate, stream } = await bench();
  let release = (): void => {};
  gate.send = () =>
    new Promise((resolve) => {
      release = resolve;
    });
  stream.order(dispatchOf(0));
  await until('on its way', () => sent.length === 1);
  for (const commit of ['c1', 'c2']) stream.desired(commit, Buffer.alloc(0));
  stream.order(dispatchOf(1));
  gate.send = async () => {};
  release();
  await until('handed over', () => sent.length === 3);
  assert.deepEqual(typesOf(sent), ['order', 'order', 'desired']);
  assert.deepEqual(
    sent.flatMap((message) => (message.type === 'desired' ? [message.commit] : [])),
    ['c2'],
  );
});

test('a large commit goes out in parts, with acks and orders in between', async () => {
  const { sent, gate, stream } = await bench();
  const bytes = randomBytes(2_000_000);
  let parts = 0;
  gate.send = async () => {
    parts += 1;
    if (parts === 1) stream.acknowledge({ places: [{ seq: 1, index: 0 }], receivedMs: 0 });
    if (parts === 3) stream.order(dispatchOf(1));
  };
  stream.desired('c1', bytes);
  await until('handed over', () => sent.length === 5);
  assert.deepEqual(typesOf(sent), ['desired', 'ack', 'desired', 'order', 'desired']);
  const assembled = createBundleParts();
  const handed = sent.flatMap((message) => (message.type === 'desired' ? [assembled.take(message)] : []));
  assert.deepEqual(handed, [undefined, undefined, { commit: 'c1', bytes }]);
});

const measureOf = (index: number) => ({ index, order: null });

test('measures are proved as orders are, behind them and before acks, with the word that they were all', async () => {
  const { ledger, places, sent, gate, stream } = await bench();
  let release = (): void => {};
  gate.send = () =>
    new Promise((resolve) => {
      release = resolve;
    });
  stream.order(dispatchOf(0));
  await until('on its way', () => sent.length === 1);
  stream.acknowledge({ places, receivedMs: 0 });
  stream.measure(measureOf(3));
  stream.measured(true);
  stream.order(dispatchOf(1));
  gate.send = async () => {};
  release();
  await until('told', () => sent.length === 5);
  assert.deepEqual(typesOf(sent), ['order', 'order', 'measure', 'measured', 'ack']);
  const [measure] = sent.flatMap((message) => (message.type === 'measure' ? [message] : []));
  assert.ok(measure);
  const { bytes, signature } = fromWire(measure.entry);
  verifyInclusion({
    ...openCheckpoint(measure.checkpoint.note, parseVerifierKey(ledger.vkey)).checkpoint,
    index: 3,
    leafHash: leafHash(bytes, signature),
    proof: measure.hashes.map((hash) => Buffer.from(hash, 'base64')),
  });
});

test('a node hears that it was not told everything: an entry is not kept any more, or too many wait', async () => {
  const { sent, gate, stream, failures } = await bench();
  const words = () => sent.flatMap((message) => (message.type === 'measured' ? [message.all] : []));
  for (const index of [99, 2]) stream.measure(measureOf(index));
  stream.measured(true);
  await until('told', () => words().length === 1);
  gate.send = () => new Promise(() => {});
  stream.measured(true);
  await until('on its way', () => words().length === 2);
  assert.deepEqual([words(), failures], [[false, true], []]);
  const taken = Array.from({ length: limits.maxMeasuresWaiting + 5 }, () => stream.measure(measureOf(1)));
  assert.equal(taken.filter(Boolean).length, limits.maxMeasuresWaiting);
});

test('a collector hears of a node that came and of its entries, and reaches only nodes that are there', async () => {
  const heard: string[] = [];
  const ledger = memoryLedger();
  ledger.onCommitted(() => heard.push('committed'));
  const collector = await startCollector({
    ledger,
    onOpen: (node) => heard.push(`open ${node}`),
    onAppended: (node, kinds) => heard.push(`appended ${node} ${kinds.join(' ')} ${collector.counts.acknowledged}`),
  });
  const agent = startAgent(collector);
  try {
    const { orders, sendDesired } = collector.sockets;
    assert.deepEqual([orders.nodes(), orders.send('node1', dispatchOf(0))], [[], false]);
    assert.equal(sendDesired('node1', 'c1', Buffer.alloc(0)), false);
    collector.nodes.enrol('node1', agent.keys);
    await until('open', () => heard.length === 1);
    assert.deepEqual([heard, orders.nodes()], [['open node1'], ['node1']]);
    assert.equal(sendDesired('node1', 'c1', Buffer.alloc(limits.maxOfferedBundleBytes + 1)), false, 'too large');
    agent.outbox.append(statement(1));
    await until('appended', () => heard.length === 3);
    assert.deepEqual(heard.slice(1), ['committed', 'appended node1 drift.resolved 0']);
  } finally {
    await agent.link.stop();
    await collector.close();
  }
});
