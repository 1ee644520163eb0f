import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createWitness } from '../../../agent/link/witness.ts';
import type { OrderDesk } from '../../../agent/orders/desk.ts';
import { type OrderMessage, readIssued } from '../../../agent/orders/issued.ts';
import { toAppError } from '../../../common/errors.ts';
import { parseVerifierKey } from '../../../common/note.ts';
import { type Order, orderActions, orderHash } from '../../../common/order.ts';
import { toWire } from '../../../common/protocol.ts';
import { testAuthor } from '../../authors.ts';
import { commit, nowMs, orderFor, rogue, targetId } from '../../common/enforcement/ground.ts';
import { memoryLedger } from '../../fakes/ledger.ts';
import { deskGround } from './ground.ts';

const isLong = process.env.SIGILWATCH_TEST_LONG === '1';
const seed = Number(process.env.SIGILWATCH_TEST_SEED ?? Date.now() % 1_000_000);
const orders = isLong ? 10_000 : 1_000;
const batch = 50;

/** Somebody who owns the collector, its key and its database: whatever he signs is in the ledger, if he wants it to be. */
function attacker() {
  const collector = testAuthor('collector');
  const ledger = memoryLedger({ keys: collector.keys });
  const logKey = parseVerifierKey(ledger.vkey);
  const witness = createWitness(logKey, undefined);
  let toldSize = 0;

  async function message(order: Order): Promise<OrderMessage> {
    const signed = collector.next({ kind: 'order.issued', body: { order } });
    const [placed] = await ledger.append([signed]);
    const { size, note } = await ledger.checkpoint();
    const index = placed?.index ?? 0;
    const { hashes, proofs } = await ledger.inclusion([index], size);
    const consistency = (await ledger.consistency(toldSize, size)).map((hash) => hash.toString('base64'));
    toldSize = size;
    return {
      type: 'order',
      entry: toWire(signed),
      index,
      hashes: (proofs[0] ?? []).flatMap((at) => hashes[at]?.toString('base64') ?? []),
      approvals: [{ approver: 'ada', signature: 'mine' }],
      checkpoint: { note, consistency },
    };
  }

  /** What a node does with a message that came in. @returns the code of the error that ends the connection. */
  async function deliver({ checkpoint, ...said }: OrderMessage, desk: OrderDesk): Promise<string | undefined> {
    try {
      const consistency = checkpoint.consistency.map((text) => Buffer.from(text, 'base64'));
      const accepted = witness.accept({ note: checkpoint.note, consistency });
      const states = { checkpoint: accepted, witnessed: undefined };
      await desk.receive(readIssued({ ...said, checkpoint }, states, logKey.publicKey));
      return undefined;
    } catch (thrown) {
      return toAppError(thrown).code;
    }
  }

  return { message, deliver, rewind: (size: number) => (toldSize = size), told: () => toldSize };
}

const iso = (ms: number) => new Date(ms).toISOString();
const tricks = ['replayed', 'altered', 'expired', 'misdirected', 'unlogged', 'forbidden', 'untrue'] as const;
const plan = fc.record({
  trick: fc.constantFrom(...tricks),
  byte: fc.nat(),
  action: fc.constantFrom(...orderActions),
  nonce: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex')),
  choice: fc.nat(3),
});
type Plan = typeof plan extends fc.Arbitrary<infer T> ? T : never;

/** Orders that are in the ledger and signed, and that the manifest, the clock or the truth forbids. */
function wicked({ trick, action, nonce, choice }: Plan): Order {
  const base = orderFor(rogue, { nonce });
  const api = { container: 'api', containerId: 'b'.repeat(64) };
  switch (trick) {
    case 'expired':
      return { ...base, issuedAt: iso(nowMs - 900_000), expiresAt: iso(nowMs - choice) };
    case 'misdirected':
      return { ...base, node: choice === 0 ? 'node2' : 'node3' };
    case 'forbidden': {
      const others = orderActions.filter((one) => one !== 'terminate');
      const forbidden = action === 'terminate' ? others[choice % others.length] : action;
      return {
        ...base,
        action: forbidden ?? 'quarantine',
        ...(choice === 0 && { drift: null, origin: 'operator' as const }),
      };
    }
    case 'untrue':
      if (choice === 0) return { ...base, ...api };
      if (choice === 1)
        return { ...base, ...api, drift: { id: 'UNAUTHORIZED_CONTAINER/x', kind: rogue.kind, digest: '0'.repeat(64) } };
      if (choice === 2) return { ...base, drift: { id: rogue.id, kind: rogue.kind, digest: '1'.repeat(64) } };
      return { ...base, commit: 'd'.repeat(40) };
    default:
      return base;
  }
}

/** The message as it is spoiled on the way, where that is the trick. */
function spoiled(message: OrderMessage, { trick, byte, choice }: Plan): OrderMessage {
  if (trick === 'altered') {
    const bytes = Buffer.from(message.entry.text);
    const at = byte % bytes.length;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return { ...message, entry: { ...message.entry, text: bytes.toString('utf8') } };
  }
  if (trick !== 'unlogged') return message;
  if (choice === 0) return { ...message, index: message.index + 1 };
  if (choice === 1) return { ...message, hashes: message.hashes.slice(1) };
  if (choice === 2)
    return { ...message, hashes: [Buffer.alloc(32, byte % 256).toString('base64'), ...message.hashes.slice(1)] };
  const stranger = testAuthor('collector').next({ kind: 'order.issued', body: { order: orderFor(rogue) } });
  return { ...message, entry: toWire(stranger) };
}

test(`of ${orders} replayed, altered, expired, misdirected, unlogged, forbidden or untrue orders none is executed (seed ${seed})`, async () => {
  const plans = fc.sample(plan, { seed, numRuns: orders });
  let refused = 0;
  for (let at = 0; at < plans.length; at += batch) {
    const { open, pulled, journal } = deskGround();
    const desk = await open();
    const { message, deliver } = attacker();
    // One that is good, so that there is something to replay, and so that it is not for another reason that nothing happens.
    const good = await message(orderFor(rogue));
    assert.equal(await deliver(good, desk), undefined);
    await desk.settled();
    assert.equal(pulled.length, 2);
    const again = await open();
    for (const one of plans.slice(at, at + batch)) {
      const sent =
        one.trick === 'replayed'
          ? { ...good, checkpoint: (await message(wicked(one))).checkpoint }
          : await message(wicked(one));
      const code = await deliver(spoiled(sent, one), again);
      if (one.trick === 'altered' || one.trick === 'unlogged')
        assert.ok(code !== undefined || one.trick === 'unlogged', one.trick);
      if (code !== undefined) refused += 1;
    }
    await again.settled();
    assert.equal(pulled.length, 2, `an order was executed: ${pulled.slice(2).join(', ')}`);
    for (const { body } of journal.saidOf('order.result').slice(1)) assert.match(body.outcome, /^(refused|expired)$/);
  }
  assert.ok(refused > 0);
});

test('the one order that is good among them is executed, so the others failed for what they are', async () => {
  const { open, pulled } = deskGround();
  const desk = await open();
  const { message, deliver } = attacker();
  await deliver(await message(orderFor(rogue, { commit: 'd'.repeat(40) })), desk);
  await deliver(await message(orderFor(rogue)), desk);
  await desk.settled();
  assert.deepEqual(pulled, [`kill ${targetId}`, `remove ${targetId}`]);
  assert.equal(commit.length, 40);
  assert.equal(orderHash(orderFor(rogue)).length, 64);
});
