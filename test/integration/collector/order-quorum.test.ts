import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { cosign } from '../../../common/cosignature.ts';
import { cosignersOf, type OrderWitnesses } from '../../../common/enforcement/order-witnesses.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { formatVerifierKey, parseNote, parseVerifierKey } from '../../../common/note.ts';
import { nodeWitnessKey, nodeWitnessSigner } from '../../../common/witnesses.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { until } from '../../until.ts';
import { statement, systemClock } from '../../wire.ts';
import { enrolled, startWitnessed, type WitnessedCollector, type WitnessNode } from './witnessed.ts';

/*
 * What orders go by: cosignatures of those whom the manifest pins, wherever they are connected, and whoever else is enrolled.
 */
let postgres: TestPostgres;
before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Collectors on one database whose manifest pins what is put into `pins`. */
async function fleet(collectors: number) {
  const [url, keys] = [await postgres.migratedDatabase(), generateKeyPair()];
  const pins: { witnesses: OrderWitnesses | undefined } = { witnesses: undefined };
  const heard = Array.from({ length: collectors }, () => ({ times: 0 }));
  const at: WitnessedCollector[] = [];
  for (const counter of heard) {
    const orders = { witnesses: () => pins.witnesses, vouched: () => void counter.times++ };
    const started = await startWitnessed(url, keys, { orders });
    cleanups.push(started.stop);
    at.push(started);
  }
  const [first] = at;
  assert.ok(first);
  const enrol = async (name: string) => {
    const node = await enrolled(first.ledger, name);
    cleanups.push(node.leave);
    return node;
  };
  return { at, first, heard, pins, enrol };
}

const keyOf = ({ ledger }: WitnessedCollector, { node, keys }: WitnessNode) =>
  formatVerifierKey(nodeWitnessKey(ledger.origin, node, keys.publicKey));

/** The newest checkpoint that enough of them have cosigned, once it covers so many entries. */
async function covering({ witnessing: { vouchers } }: WitnessedCollector, by: OrderWitnesses, size: number) {
  let note = '';
  await until('enough have cosigned', async () => {
    vouchers.hurry(size);
    const found = await vouchers.newest(by);
    note = found?.note ?? '';
    return found !== undefined && found.size >= size;
  });
  return cosignersOf(parseNote(note), by.keys);
}

test('nodes of two collectors make one quorum, and both collectors hear of it', async () => {
  const { at, first, heard, pins, enrol } = await fleet(2);
  const [one, two] = at;
  const nodes = await Promise.all(['node1', 'node2', 'node3', 'node4'].map(enrol));
  for (const [i, node] of nodes.entries()) node.join(i < 2 || two === undefined ? first : two);
  const witnesses = { keys: nodes.map((node) => keyOf(first, node)), required: 4 };
  pins.witnesses = witnesses;
  nodes[0]?.outbox.append(statement(1));
  await until('acknowledged', () => nodes[0]?.outbox.depth === 0);
  const { size } = await first.ledger.checkpoint();
  for (const collector of [one, two]) {
    assert.ok(collector);
    assert.equal((await covering(collector, witnesses, size)).length, 4);
  }
  await until('both have heard', () => heard.every(({ times }) => times > 0));
});

test('a quorum of the enrolled nodes is none of the pinned ones; these are asked until they are enough', async () => {
  const { first, heard, pins, enrol } = await fleet(1);
  const [node1, node2, node3] = await Promise.all(['node1', 'node2', 'node3'].map(enrol));
  assert.ok(node1 && node2 && node3);
  const witnesses = { keys: [node1, node3].map((node) => keyOf(first, node)), required: 2 };
  pins.witnesses = witnesses;
  node1.join(first);
  node2.join(first);
  node1.outbox.append(statement(1));
  await until('witnessed by two of three', async () => {
    const { witnessed_size, ledger_size } = await first.witnessing.published.view();
    return witnessed_size === ledger_size && node1.outbox.depth === 0;
  });
  assert.deepEqual([await first.witnessing.vouchers.newest(witnesses), heard[0]?.times], [undefined, 0]);
  // Nothing is added to the ledger: the one that is missing is asked for what there is.
  node3.join(first);
  const { size } = await first.ledger.checkpoint();
  assert.equal((await covering(first, witnesses, size)).length, 2);
});

test('what somebody has written into the database is no cosignature', async () => {
  const { first, enrol } = await fleet(1);
  const node1 = await enrol('node1');
  const absent = await Promise.all(['node2', 'node3'].map(enrol));
  const witnesses = { keys: [node1, ...absent].map((node) => keyOf(first, node)), required: 2 };
  node1.join(first);
  await until('a round', async () => (await first.store.standing()).newest !== undefined);
  const newest = (await first.store.standing()).newest;
  assert.ok(newest);
  const { text } = parseNote(newest.note);
  const forged = absent.map(({ node }) => {
    const { signature } = cosign(
      text,
      nodeWitnessSigner(first.ledger.origin, node, generateKeyPair()),
      systemClock.now(),
    );
    return signature;
  });
  const posing = witnesses.keys.slice(1).map((vkey, i) => {
    const { name, keyId } = parseVerifierKey(vkey);
    return { witness: name, keyId, cosignature: forged[i] ?? Buffer.alloc(0) };
  });
  await first.store.addCosignatures(newest.size, posing);
  assert.equal(await first.witnessing.vouchers.newest(witnesses), undefined);
});
