import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { generateKeyPair } from '../../../common/keys.ts';
import type { Statement } from '../../../common/kinds.ts';
import { carriedCollector, carriedNode, importAt, newStick } from '../../carried.ts';
import { memoryLedger } from '../../fakes/ledger.ts';
import { tempFolder } from '../watching.ts';

const dir = tempFolder();

function world() {
  const collector = carriedCollector(dir);
  const node = carriedNode(dir, collector);
  return { collector, node, stick: newStick(dir) };
}

const refused = (code: string, message?: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof Error && 'code' in thrown, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  if (message !== undefined) assert.match(thrown.message, message);
  return true;
};

test('entries leave the outbox when the answer proves them, and not before', async () => {
  const { collector, node, stick } = world();
  node.say(950);
  const exported = await node.exportTo(stick, { maxPartBytes: 64 * 1024 });
  assert.deepEqual(exported.entries, { first: 1, last: 950 });
  assert.ok(exported.parts > 2);
  assert.equal(node.outbox.depth, 950);
  assert.deepEqual(await importAt(collector, stick), [{ entries: 950, fresh: 950 }]);
  assert.equal(node.outbox.depth, 950);
  node.say(3);
  const taken = await node.importFrom(stick);
  assert.deepEqual([taken.receipts, taken.waiting, taken.size], [950, 3, 950]);
  assert.equal(node.outbox.acked.seq, 950);
  assert.deepEqual(node.received, ['session', 'measured']);
});

test('a bundle that is taken in twice, and an answer, change nothing the second time', async () => {
  const { collector, node, stick } = world();
  node.say(10);
  await node.exportTo(stick);
  await importAt(collector, stick);
  assert.deepEqual(await importAt(collector, stick), [{ entries: 10, fresh: 0 }]);
  assert.equal(collector.ledger.entries.length, 10);
  assert.equal((await node.importFrom(stick)).receipts, 10);
  assert.equal((await node.importFrom(stick)).receipts, 0);
});

test('who takes in a bundle goes on record before its entries do, and one that brings nothing new is no act', async () => {
  const { collector, node, stick } = world();
  node.say(10);
  await node.exportTo(stick);
  const atRecord: number[] = [];
  const { ports, recorded, ledger } = collector;
  const record = async (statement: Statement) => {
    atRecord.push(ledger.entries.length);
    await ports.recorder.record(statement);
  };
  const watched = { ...collector, ports: { ...ports, recorder: { record } } };
  await importAt(watched, stick);
  await importAt(watched, stick);
  assert.deepEqual(atRecord, [0]);
  const [act] = recorded;
  assert.ok(act?.kind === 'auth.event');
  const { event, actor, subject, detail } = act.body;
  assert.deepEqual([event, actor, subject], ['bundle.imported', 'local', 'lyra']);
  assert.match(detail, /^bundle 1, entries 1 to 10, manifest SHA-256 [0-9a-f]{64}$/);
  const broken = { ...collector, ports: { ...ports, recorder: { record: () => Promise.reject(new Error('no')) } } };
  node.say(1);
  const next = newStick(dir);
  await node.exportTo(next);
  await assert.rejects(importAt(broken, next), /no/);
  assert.equal(ledger.entries.length, 10, 'what cannot be put on record is not taken in');
});

test('a stick that comes weeks after the node was connected changes nothing, and its answer is refused as an old one', async () => {
  const { collector, node, stick } = world();
  node.say(10);
  await node.exportTo(stick);
  const behind = newStick(dir);
  await cp(stick, behind, { recursive: true });
  await importAt(collector, behind);
  // The same entries over the wire, and more.
  node.say(5);
  const waiting = await node.outbox.read(0, { maxEntries: 100, maxBytes: 1e6 });
  await collector.ledger.append(waiting, node.keys.publicKey);
  const { note } = await collector.ledger.checkpoint();
  await node.outbox.trim(15, note);
  await assert.rejects(node.importFrom(behind), refused('bundle.replayed', /10 entries.*checkpoint of 15/));
  assert.deepEqual(await importAt(collector, stick), [{ entries: 10, fresh: 0 }]);
  assert.equal(collector.ledger.entries.length, 15);
});

test('answers that cross a second export are taken in one after the other', async () => {
  const { collector, node, stick } = world();
  node.say(10);
  await node.exportTo(stick);
  await importAt(collector, stick);
  const first = newStick(dir);
  await cp(stick, first, { recursive: true });
  node.say(10);
  const second = newStick(dir);
  await node.exportTo(second);
  await importAt(collector, second);
  assert.equal((await node.importFrom(first)).receipts, 10);
  assert.equal((await node.importFrom(second)).receipts, 10);
  await assert.rejects(node.importFrom(first), refused('bundle.replayed'));
  assert.equal(node.outbox.depth, 0);
});

test('a node with nothing to say gets what waits for it', async () => {
  const { collector, node, stick } = world();
  const exported = await node.exportTo(stick);
  assert.deepEqual([exported.entries, exported.parts], [null, 0]);
  assert.deepEqual(await importAt(collector, stick), [{ entries: 0, fresh: 0 }]);
  assert.equal((await node.importFrom(stick)).receipts, 0);
});

test('an outbox that lost its place hands out nothing, and asks for it', async () => {
  const { collector, node, stick } = world();
  node.say(5);
  const lost = {
    ...node.source,
    look: async () => ({ ...(await node.source.look()), anchored: false }),
  };
  const exported = await node.exportTo(stick, { source: lost });
  assert.deepEqual([exported.entries, exported.anchored], [null, false]);
  assert.deepEqual(await importAt(collector, stick), [{ entries: 0, fresh: 0 }]);
});

test('bundles are numbered, and each names the one before', async () => {
  const { node, stick } = world();
  node.say(1);
  assert.equal((await node.exportTo(stick)).number, 1);
  assert.equal((await node.exportTo(stick)).number, 2);
  assert.deepEqual(readdirSync(stick), ['entries-lyra-000001', 'entries-lyra-000002']);
});

test('an export that was broken off goes on with the parts that it has, and a new one does not take over what is wrong', async () => {
  const { collector, node, stick } = world();
  node.say(950);
  const breaking = (after: number) => {
    let left = after;
    return {
      ...node.source,
      read: async (seq: number) => (left-- > 0 ? node.source.read(seq) : Promise.reject(new Error('cut'))),
    };
  };
  const maxPartBytes = 64 * 1024;
  await assert.rejects(node.exportTo(stick, { maxPartBytes, source: breaking(4) }), /cut/);
  const unfinished = join(stick, 'entries-lyra-000001.unfinished');
  const kept = readdirSync(unfinished).filter((name) => name.endsWith('.entries'));
  assert.ok(kept.length > 1);
  await assert.rejects(importAt(collector, stick), refused('bundle.damaged', /not complete/));
  writeFileSync(join(unfinished, kept.at(-1) ?? ''), 'nothing of ours\n');
  const exported = await node.exportTo(stick, { maxPartBytes });
  assert.deepEqual([exported.number, exported.resumed], [1, kept.length - 1]);
  assert.deepEqual(readdirSync(stick), ['entries-lyra-000001']);
  assert.deepEqual(await importAt(collector, stick), [{ entries: 950, fresh: 950 }]);
});

test('what was acknowledged while it was exported is told, instead of a bundle with a hole', async () => {
  const { collector, node, stick } = world();
  node.say(450);
  const source = {
    ...node.source,
    read: async (after: number) => {
      if (after > 0) await node.outbox.trim(400, (await collector.ledger.checkpoint()).note);
      return node.source.read(after);
    },
  };
  await assert.rejects(node.exportTo(stick, { source }), refused('state.conflict', /acknowledged/));
  assert.equal((await node.exportTo(stick)).entries?.first, 401);
});

test('bundles of another log, of unknown nodes and with other keys are refused', async () => {
  const { collector, node, stick } = world();
  node.say(3);
  await node.exportTo(stick);
  const elsewhere = carriedCollector(dir, { ledger: memoryLedger({ origin: 'other.example/log' }) });
  await assert.rejects(importAt(elsewhere, stick), refused('bundle.foreign', /other\.example/));
  const sameName = carriedCollector(dir);
  await assert.rejects(importAt(sameName, stick), refused('bundle.foreign', /no node lyra/));
  collector.nodes.enrol('lyra', generateKeyPair());
  await assert.rejects(importAt(collector, stick), refused('bundle.foreign', /is enrolled with/));
  assert.equal(collector.ledger.entries.length, 0);
});

test('a bundle of a revoked node is refused', async () => {
  const { collector, node, stick } = world();
  node.say(3);
  await node.exportTo(stick);
  collector.nodes.revoke('lyra');
  await assert.rejects(importAt(collector, stick), refused('bundle.refused', /revoked/));
  assert.equal(collector.ledger.entries.length, 0);
});

test('answers to other nodes, from other logs and from other keys are refused', async () => {
  const { collector, node, stick } = world();
  const other = carriedNode(dir, collector, { name: 'node1' });
  node.say(3);
  await node.exportTo(stick);
  await importAt(collector, stick);
  await assert.rejects(other.importFrom(stick), refused('bundle.foreign', /other nodes only/));
  await assert.rejects(other.importFrom(join(stick, 'return-lyra-000001')), refused('bundle.foreign', /for lyra/));
  const impostor = carriedCollector(dir, { nodes: collector.nodes });
  const forged = newStick(dir);
  await node.exportTo(forged);
  await importAt(impostor, forged);
  await assert.rejects(node.importFrom(forged), refused('bundle.foreign', /not signed by the log/));
  assert.equal(node.outbox.depth, 3);
});

test('a log that contradicts what the node holds is kept as evidence, and nothing leaves the outbox', async () => {
  const { collector, node, stick } = world();
  node.say(5);
  await node.exportTo(stick);
  await importAt(collector, stick);
  await node.importFrom(stick);
  await rm(join(stick, 'return-lyra-000001'), { recursive: true });
  // The same key, and another history from the third entry on.
  const ledger = collector.ledger.fork(2);
  const fork = carriedCollector(dir, { ...collector, ledger });
  const third = carriedNode(dir, { ledger, nodes: collector.nodes }, { name: 'node9' });
  third.say(9);
  await ledger.append(await third.outbox.read(0, { maxEntries: 9, maxBytes: 1e6 }));
  await ledger.append(collector.ledger.entries.slice(2, 5));
  node.say(1);
  await rm(join(stick, 'entries-lyra-000001'), { recursive: true });
  await node.exportTo(stick);
  await importAt(fork, stick);
  await assert.rejects(node.importFrom(stick), refused('ledger.forked'));
  assert.equal(node.forks.length, 1);
  assert.equal(node.outbox.depth, 1);
});

test('a ledger that was put back takes in nothing of a node that knows more', async () => {
  const { collector, node, stick } = world();
  node.say(5);
  await node.exportTo(stick);
  await importAt(collector, stick);
  await node.importFrom(stick);
  node.say(1);
  const later = newStick(dir);
  await node.exportTo(later);
  const ledger = collector.ledger.restored(3);
  await assert.rejects(importAt(carriedCollector(dir, { ...collector, ledger }), later), refused('ledger.tampered'));
  assert.equal(ledger.entries.length, 3);
});

test('an image archive is carried along in parts, and lies where images are looked for in one', async () => {
  const { collector, node, stick } = world();
  const archive = join(dir, 'app.tar');
  const bytes = Buffer.alloc(700_000, 'image');
  writeFileSync(archive, bytes);
  await node.exportTo(stick);
  await importAt(collector, stick, [{ from: 'file', path: archive }]);
  const parts = readdirSync(join(stick, 'return-lyra-000001')).filter((name) => name.startsWith('image-'));
  assert.deepEqual(parts.sort(), ['image-001.tar', 'image-001.tar.000002', 'image-001.tar.000003']);
  const { images } = await node.importFrom(stick);
  assert.ok(readFileSync(images[0] ?? '').equals(bytes));
  assert.equal(images.length, 1);
  assert.match(images[0] ?? '', /images\/carried-[0-9a-f]{16}\.tar$/);
  assert.equal((await node.importFrom(stick)).images.length, 1);
});
