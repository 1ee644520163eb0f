import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createWitness } from '../../../agent/link/witness.ts';
import { refusalOf } from '../../../collector/ws/refusal.ts';
import { createRegistry, type Speaker } from '../../../collector/ws/registry.ts';
import { type AgentSession, createAgentSession } from '../../../collector/ws/session.ts';
import { createNodeRate, createTokenBucket } from '../../../collector/ws/token-bucket.ts';
import { createVerifier } from '../../../collector/ws/verify.ts';
import { openCheckpoint } from '../../../common/checkpoint.ts';
import { AppError, toAppError } from '../../../common/errors.ts';
import { fingerprint, generateKeyPair, signBytes, verifyBytesAsync } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import { leafHash } from '../../../common/merkle.ts';
import { parseNote, parseVerifierKey } from '../../../common/note.ts';
import { expandProof, verifyInclusion } from '../../../common/proof.ts';
import {
  type AgentMessage,
  type CollectorMessage,
  handshakeBytes,
  type MessageOf,
  toWire,
} from '../../../common/protocol.ts';
import { type MemoryLedger, memoryLedger } from '../../fakes/ledger.ts';
import { memoryOutbox } from '../../fakes/outbox.ts';
import { quietRounds } from '../../fakes/rounds.ts';
import { until } from '../../until.ts';
import { nodeTable, statement } from '../../wire.ts';

const plenty = { perSecond: 1_000_000_000, burst: 1_000_000_000 };
const nonce = Buffer.alloc(32, 3);
const codeOf = (code: string) => (error: unknown) => error instanceof AppError && error.code === code;

/** A session and, in the test's hands, everything an agent would say. Sleeping moves the clock. */
function bench(ledger = memoryLedger(), rounds = quietRounds()) {
  const keys = generateKeyPair();
  const nodes = nodeTable();
  nodes.enrol('node1', keys);
  const outbox = memoryOutbox('node1', keys.privateKey);
  const sent: CollectorMessage[] = [];
  const failures: unknown[] = [];
  const claims: string[] = [];
  const clock = { at: 1_700_000_000_000, now: () => clock.at, monotonicMs: () => clock.at };
  const gate: { send: () => Promise<void>; claimed: () => void } = { send: async () => {}, claimed: () => {} };
  const session = createAgentSession({
    ...{ ledger, nodes, clock, nonce, rounds, random: () => 0.5, verify: createVerifier(verifyBytesAsync) },
    sleep: async (ms) => {
      clock.at += ms;
    },
    rateOf: () => createNodeRate({ entries: plenty, excessBytes: plenty, freeBytesPerEntry: 0 }, 0),
    claim: async ({ node }) => {
      claims.push(node);
      gate.claimed();
    },
    send: async (message) => {
      sent.push(message);
      await gate.send();
    },
    fail: (thrown) => failures.push(thrown),
    over: () => failures.length > 0,
    acknowledged: () => {},
    appended: () => {},
    opened: () => {},
    held: () => {},
  });
  const say = (message: AgentMessage): Promise<void> =>
    session.receive({ text: JSON.stringify(message), receivedMs: clock.at });
  const acks = (): MessageOf<CollectorMessage, 'ack'>[] =>
    sent.flatMap((message) => (message.type === 'ack' ? [message] : []));
  return {
    ...{ keys, nodes, ledger, outbox, sent, failures, claims, clock, gate, session, say, acks },
    shake: async (checkpoint: string | null = null): Promise<void> => {
      await say({
        type: 'hello',
        node: 'node1',
        fingerprint: fingerprint(keys.publicKey),
        version: '1',
        checkpoint,
      });
      const message = handshakeBytes({ nonce: nonce.toString('base64'), origin: ledger.origin }, 'node1');
      await say({ type: 'proof', signature: signBytes(keys.privateKey, message).toString('base64') });
    },
    append: (count: number): Promise<void> =>
      say({ type: 'append', entries: Array.from({ length: count }, (_, i) => toWire(outbox.append(statement(i)))) }),
  };
}

test('the welcome says where the chain stands, proves growth from what the agent holds, and tells the time', async () => {
  const { ledger, outbox, sent, clock, shake, session } = bench();
  await ledger.append([1, 2].map((i) => outbox.append(statement(i))));
  const { note } = await ledger.checkpoint();
  await ledger.append([outbox.append(statement(3))]);
  await shake(note);
  const welcome = sent[1];
  if (welcome?.type !== 'welcome') throw new Error('not welcomed');
  const { proof, ...head } = welcome.head;
  assert.deepEqual(head, await ledger.authorHead('node1'));
  const leaf = await ledger.entryOf('node1', 3);
  assert.deepEqual([proof?.index, proof?.entry], [2, leaf && toWire(leaf)]);
  assert.deepEqual(proof?.hashes.length, proof?.proof.length);
  assert.equal(welcome.checkpoint.consistency.length, (await ledger.consistency(2, 3)).length);
  assert.equal(Date.parse(welcome.now), clock.at);
  assert.ok(session.open);
});

test('an agent that holds what the ledger does not have is shown nothing, and told to come back', async () => {
  for (const damage of ['rolled back', 'forked'] as const) {
    const honest = memoryLedger();
    const strangers = memoryOutbox('node2', generateKeyPair().privateKey);
    await honest.append([1, 2, 3].map((i) => strangers.append(statement(i))));
    const restored = honest.restored(2);
    const { sent, shake, session } = bench(restored);
    if (damage === 'forked') {
      const others = memoryOutbox('node3', generateKeyPair().privateKey);
      await restored.append([1, 2, 3].map((i) => others.append(statement(i))));
    }
    const refused = await shake((await honest.checkpoint()).note).catch((thrown: unknown) =>
      refusalOf(toAppError(thrown)),
    );
    assert.deepEqual(
      { ...refused, message: '' },
      {
        type: 'refused',
        code: 'ledger.tampered',
        message: '',
        retryable: true,
      },
    );
    assert.deepEqual([sent.map(({ type }) => type), session.open], [['challenge'], false]);
  }
});

test('a checkpoint that is not of this ledger ends the session before anything is shown', async () => {
  const { sent, shake } = bench();
  const other = memoryLedger();
  await assert.rejects(shake((await other.checkpoint()).note), codeOf('auth.signature'));
  await assert.rejects(bench().shake('no note'), codeOf('ledger.proof'));
  assert.deepEqual(
    sent.map(({ type }) => type),
    ['challenge'],
  );
});

test('a key revoked while it was being checked does not get in', async () => {
  const { nodes, gate, shake, session } = bench();
  gate.claimed = () => nodes.revoke('node1');
  await assert.rejects(shake(), codeOf('auth.revoked'));
  assert.equal(session.open, false);
});

test('nothing is looked up and nobody is displaced before the key is proved', async () => {
  const { nodes, claims, say, session, keys } = bench();
  const looked: string[] = [];
  nodes.key = async (node) => void looked.push(node);
  await say({
    type: 'hello',
    node: 'node1',
    fingerprint: fingerprint(keys.publicKey),
    version: '1',
    checkpoint: null,
  });
  assert.deepEqual(looked, []);
  await assert.rejects(
    say({ type: 'proof', signature: Buffer.alloc(64).toString('base64') }),
    codeOf('auth.signature'),
  );
  assert.deepEqual([claims, session.open], [[], false]);
});

test('every ack proves its entries in a checkpoint that continues the last one', async () => {
  const { ledger, outbox, acks, shake, append } = bench();
  await shake();
  await append(3);
  await until('acknowledged', () => acks().length === 1);
  await append(4);
  await until('acknowledged', () => acks().length === 2);
  const sent = await outbox.read(0, { maxEntries: 10, maxBytes: 1e6 });
  for (const ack of acks()) {
    const { checkpoint } = openCheckpoint(ack.checkpoint.note, parseVerifierKey(ledger.vkey));
    const shared = {
      hashes: ack.hashes.map((hash) => Buffer.from(hash, 'base64')),
      proofs: ack.entries.map(({ proof }) => proof),
    };
    ack.entries.forEach(({ seq, index }, at) => {
      const entry = sent[seq - 1];
      assert.ok(entry);
      verifyInclusion({
        ...checkpoint,
        index,
        leafHash: leafHash(entry.bytes, entry.signature),
        proof: expandProof(shared, at),
      });
    });
  }
  assert.equal(acks()[1]?.checkpoint.consistency.length, (await ledger.consistency(3, 7)).length);
});

test('batches that finish while an ack is on its way share the next one', async () => {
  const { acks, gate, shake, append, ledger } = bench();
  await shake();
  let release = (): void => {};
  gate.send = () =>
    new Promise((resolve) => {
      release = resolve;
    });
  await append(1);
  await until('the first ack is on its way', () => acks().length === 1);
  await append(1);
  await append(1);
  await until('appended', () => ledger.entries.length === 3);
  gate.send = async () => {};
  release();
  await until('acknowledged', () => acks().length === 2);
  assert.deepEqual(
    acks().map(({ entries }) => entries.map(({ seq }) => seq)),
    [[1], [2, 3]],
  );
});

test('an agent that does not read its acks is not read from either', async () => {
  const { acks, gate, shake, append } = bench();
  await shake();
  let release = (): void => {};
  gate.send = () =>
    new Promise((resolve) => {
      release = resolve;
    });
  for (let i = 1; i <= 3; i++) await append(1);
  let taken = false;
  const fourth = append(1).then(() => {
    taken = true;
  });
  await until('the first ack is on its way', () => acks().length === 1);
  assert.equal(taken, false);
  gate.send = async () => {};
  release();
  await fourth;
});

test('a busy ledger is asked again in order, for a bounded time', async () => {
  const { ledger, acks, failures, shake, append } = bench();
  await shake();
  ledger.busy(3);
  await append(1);
  await append(1);
  await until('acknowledged', () => acks().flatMap(({ entries }) => entries).length === 2);
  assert.deepEqual(
    ledger.entries.map(({ entry }) => entry.seq),
    [1, 2],
  );
  ledger.busy(Number.POSITIVE_INFINITY);
  await append(1);
  await until('given up', () => failures.length > 0);
  assert.ok(codeOf('state.busy')(failures[0]));
});

test('after a refused batch nothing that follows it is appended', async () => {
  const { ledger, outbox, failures, shake, say, append } = bench();
  await shake();
  const forged = toWire({ ...outbox.append(statement(1)), signature: Buffer.alloc(64) });
  await say({ type: 'append', entries: [forged] });
  await append(1);
  await until('refused', () => failures.length > 0);
  assert.ok(codeOf('auth.signature')(failures[0]));
  assert.equal(ledger.entries.length, 0);
});

test('faults of the collector are not spelled out to agents', () => {
  const told = refusalOf(new AppError('internal.error', 'password=hunter2 at db.internal'));
  assert.deepEqual([told.code, told.retryable, /hunter2|db/.test(told.message)], ['internal.error', true, false]);
  assert.equal(refusalOf(new AppError('auth.signature', 'x'.repeat(5_000))).message.length, 1_000);
  const tampered = refusalOf(new AppError('ledger.tampered', 'see /var/lib/sigilwatch-collector/evidence'));
  assert.equal(tampered.retryable, true);
  assert.doesNotMatch(tampered.message, /var/);
});

test('a node’s rate counts the bytes of large entries beside the number of small ones', () => {
  const bounds = { perSecond: 1_000, burst: 2_000 };
  const rate = createNodeRate({ entries: bounds, excessBytes: bounds, freeBytesPerEntry: 100 }, 0);
  assert.equal(rate.take({ entries: 1_000, bytes: 100_000 }, 0), 0, 'small ones cost their number only');
  assert.equal(rate.take({ entries: 10, bytes: 1_000 + 2_000 }, 0), 0, 'a burst');
  assert.equal(rate.take({ entries: 10, bytes: 1_000 + 500 }, 0), 500);
  assert.equal(rate.take({ entries: 10, bytes: 1_000 }, 500), 0, 'paid');
});

test('a rate limit lets a burst pass, then makes wait exactly as long as the debt is', () => {
  const bucket = createTokenBucket({ perSecond: 100, burst: 50 }, 0);
  assert.equal(bucket.take(50, 0), 0);
  assert.equal(bucket.take(10, 0), 100);
  assert.equal(bucket.take(10, 100), 100);
  assert.equal(bucket.take(50, 10_000), 0);
});

function speaker(alive: boolean): Speaker & { readonly ended: AppError[] } {
  const ended: AppError[] = [];
  return { over: false, ended, isAlive: async () => alive, end: (error) => void ended.push(error) };
}

test('a node has one speaker: a living one stays, a dead one is replaced, and of two newcomers one gets in', async () => {
  const registry = createRegistry<Speaker>();
  const [dead, first, second] = [speaker(false), speaker(true), speaker(true)];
  await registry.claim('node1', dead);
  const outcomes = await Promise.allSettled([registry.claim('node1', first), registry.claim('node1', second)]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
  assert.equal(registry.of('node1'), first);
  assert.ok(dead.ended.length > 0);
  await assert.rejects(registry.claim('node1', speaker(true)), codeOf('state.conflict'));
  registry.release('node1', dead);
  assert.equal(registry.of('node1'), first);
  registry.release('node1', first);
  await assert.rejects(registry.claim('node1', { ...speaker(true), over: true }), codeOf('state.conflict'));
  assert.equal(registry.of('node1'), undefined);
});

const offersIn = (sent: readonly CollectorMessage[]): MessageOf<CollectorMessage, 'checkpoint'>[] =>
  sent.flatMap((message) => (message.type === 'checkpoint' ? [message] : []));

async function roundOf(ledger: MemoryLedger) {
  const { size, note } = await ledger.checkpoint();
  return { size, note, text: parseNote(note).text };
}

const someCosignature = Buffer.alloc(72, 1).toString('base64');

test('offers and acks are told in one order, each proved from the one before', async () => {
  const { ledger, sent, session, acks, shake, append } = bench();
  await shake();
  await append(3);
  await until('acknowledged', () => acks().length === 1);
  const author = memoryOutbox('node2', generateKeyPair().privateKey);
  await ledger.append([1, 2].map((i) => author.append(statement(i))));
  session.offer(await roundOf(ledger));
  await append(2);
  await until('acknowledged', () => acks().length === 2);
  const told = sent.flatMap((message) => ('checkpoint' in message ? [message.checkpoint] : []));
  const witness = createWitness(parseVerifierKey(ledger.vkey), undefined);
  const sizes = told.map(({ note, consistency }) => {
    return witness.accept({ note, consistency: consistency.map((hash) => Buffer.from(hash, 'base64')) }).size;
  });
  assert.deepEqual(sizes, [0, 3, 5, 7]);
});

test('acks wait while a round settles on its checkpoint, and the offer goes first', async () => {
  const rounds = quietRounds();
  const { ledger, sent, session, acks, shake, append } = bench(memoryLedger(), rounds);
  await shake();
  let settle = (): void => {};
  rounds.forming = new Promise<void>((resolve) => {
    settle = resolve;
  });
  await append(3);
  await until('in the ledger', () => ledger.entries.length === 3);
  const round = await roundOf(ledger);
  await append(2);
  await until('in the ledger', () => ledger.entries.length === 5);
  assert.equal(acks().length, 0);
  session.offer(round);
  rounds.forming = undefined;
  settle();
  await until('acknowledged', () => acks().length > 0);
  assert.deepEqual(
    sent.slice(2).map(({ type }) => type),
    ['checkpoint', 'ack'],
  );
  await say(session, { type: 'cosign', size: 3, cosignature: someCosignature });
  assert.deepEqual(
    rounds.votes.map(({ node, checkpoint }) => [node, checkpoint.size]),
    [['node1', 3]],
  );
});

test('an agent that was told of a larger tree is not asked, and what it has answered is not asked again', async () => {
  const rounds = quietRounds();
  const { ledger, sent, session, acks, shake, append } = bench(memoryLedger(), rounds);
  session.offer(await roundOf(ledger));
  assert.deepEqual(sent, [], 'nothing is offered before the handshake is over');
  await shake();
  await append(2);
  await until('acknowledged', () => acks().length === 1);
  const old = await roundOf(ledger.restored(1));
  session.offer(old);
  await until('missed', () => rounds.misses === 1);
  const round = await roundOf(ledger);
  session.offer(round);
  await until('offered', () => offersIn(sent).length === 1);
  await say(session, { type: 'cosign', size: round.size, cosignature: someCosignature });
  session.offer(round);
  await append(1);
  await until('acknowledged', () => acks().length === 2);
  assert.equal(offersIn(sent).length, 1);
});

test('a cosignature that nobody asked for, or for another size, ends the session', async () => {
  const { ledger, session, sent, acks, shake, append } = bench();
  await assert.rejects(
    say(session, { type: 'cosign', size: 0, cosignature: someCosignature }),
    codeOf('validation.protocol'),
  );
  await shake();
  await append(1);
  await until('acknowledged', () => acks().length === 1);
  await assert.rejects(
    say(session, { type: 'cosign', size: 1, cosignature: someCosignature }),
    codeOf('validation.protocol'),
  );
  session.offer(await roundOf(ledger));
  await until('offered', () => offersIn(sent).length === 1);
  const other = say(session, { type: 'cosign', size: 7, cosignature: someCosignature });
  await assert.rejects(other, codeOf('validation.protocol'));
  await say(session, { type: 'cosign', size: ledger.entries.length, cosignature: someCosignature });
  const again = say(session, { type: 'cosign', size: ledger.entries.length, cosignature: someCosignature });
  await assert.rejects(again, codeOf('validation.protocol'));
});

test('an agent that never answers is not asked for ever', async () => {
  const { ledger, session, sent, shake } = bench();
  await shake();
  const author = memoryOutbox('node2', generateKeyPair().privateKey);
  for (let i = 0; i < limits.maxOffersUnanswered + 3; i++) {
    await ledger.append([author.append(statement(i))]);
    const before = offersIn(sent).length;
    session.offer(await roundOf(ledger));
    if (i < limits.maxOffersUnanswered) await until('offered', () => offersIn(sent).length === before + 1);
  }
  assert.equal(offersIn(sent).length, limits.maxOffersUnanswered);
});

test('a fork is looked into and ends the session', async () => {
  const rounds = quietRounds();
  const { session, shake } = bench(memoryLedger(), rounds);
  const report = { held: 'a\n', offered: 'b\n', reason: 'rolled back' };
  await assert.rejects(say(session, { type: 'fork', ...report }), codeOf('validation.protocol'));
  await shake();
  await assert.rejects(say(session, { type: 'fork', ...report }), codeOf('ledger.forked'));
  assert.deepEqual(rounds.reports, [{ node: 'node1', ...report }]);
});

const say = (session: AgentSession, message: AgentMessage): Promise<void> =>
  session.receive({ text: JSON.stringify(message), receivedMs: 0 });
