import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMailbox } from '../../../agent/link/mailbox.ts';
import { createLinkSession } from '../../../agent/link/session.ts';
import { createWitness, type ForkStatement } from '../../../agent/link/witness.ts';
import { verifyCosignature } from '../../../common/cosignature.ts';
import { entryHash, parseEntry } from '../../../common/entry.ts';
import { AppError } from '../../../common/errors.ts';
import { generateKeyPair, verifyBytes } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import { parseNote, parseVerifierKey } from '../../../common/note.ts';
import {
  type AgentMessage,
  type CollectorMessage,
  fromWire,
  handshakeBytes,
  toWire,
} from '../../../common/protocol.ts';
import { nodeWitnessKey } from '../../../common/witnesses.ts';
import { memoryLedger } from '../../fakes/ledger.ts';
import { memoryOutbox } from '../../fakes/outbox.ts';
import { statement } from '../../wire.ts';

const nonce = Buffer.alloc(32, 7).toString('base64');

type Welcome = Extract<CollectorMessage, { type: 'welcome' }>;

/** A session and, in the test's hands, everything the collector would say. */
function bench() {
  const keys = generateKeyPair();
  const ledger = memoryLedger();
  const outbox = memoryOutbox('node1', keys.privateKey);
  const sent: AgentMessage[] = [];
  const kept: ForkStatement[] = [];
  const cosigned: number[] = [];
  const mailbox = createMailbox();
  let sending = (): void => {};
  const clock = { at: 1_700_000_000_000, now: () => clock.at, monotonicMs: () => clock.at };
  const session = createLinkSession({
    node: 'node1',
    version: '0.1.0',
    keys,
    origin: ledger.origin,
    witness: createWitness(parseVerifierKey(ledger.vkey), undefined),
    outbox,
    clock,
    bounds: { cosignIntervalMs: limits.cosignIntervalMs },
    keepFork: async (fork) => {
      kept.push(fork);
    },
    onCosigned: ({ size }) => void cosigned.push(size),
    collectorKey: parseVerifierKey(ledger.vkey).publicKey,
    receiver: mailbox,
    send: async (message) => {
      sending();
      sent.push(message);
    },
  });
  const checkpointFrom = async (size: number) => {
    const checkpoint = await ledger.checkpoint();
    const consistency = await ledger.consistency(size, checkpoint.size);
    return { note: checkpoint.note, consistency: consistency.map((hash) => hash.toString('base64')) };
  };
  return {
    ...{ keys, ledger, outbox, sent, kept, cosigned, clock, session, checkpointFrom },
    onSend: (listener: () => void): void => {
      sending = listener;
    },
    /** What the log shows when it forgets what came after `size` and goes on for `more`. */
    deceive: async (size: number, more: number) => {
      const forked = ledger.fork(size);
      const others = memoryOutbox('node9', generateKeyPair().privateKey);
      await forked.append(Array.from({ length: more }, (_, i) => others.append(statement(i))));
      const checkpoint = await forked.checkpoint();
      const consistency = await forked.consistency(ledger.entries.length, checkpoint.size);
      return { note: checkpoint.note, consistency: consistency.map((hash) => hash.toString('base64')) };
    },
    welcome: async (head?: Welcome['head']): Promise<void> => {
      await session.greet();
      await session.receive({ type: 'challenge', nonce, origin: ledger.origin });
      const now = new Date(clock.now() + 1_500).toISOString();
      const checkpoint = await checkpointFrom(0);
      const told = head ?? { ...(await ledger.authorHead('node1')), proof: null };
      await session.receive({ type: 'welcome', head: told, checkpoint, now });
    },
    /** Puts the entries of one append into the ledger, as the collector does, and makes the ack. */
    ackOf: async (append: AgentMessage | undefined): Promise<Extract<CollectorMessage, { type: 'ack' }>> => {
      if (append?.type !== 'append') throw new Error('not an append');
      const from = ledger.entries.length;
      const placed = await ledger.append(
        append.entries.map(fromWire).map((raw) => ({ ...raw, entry: parseEntry(raw.bytes) })),
      );
      const { hashes, proofs } = await ledger.inclusion(
        placed.map(({ index }) => index),
        ledger.entries.length,
      );
      return {
        type: 'ack',
        entries: placed.map((place, at) => ({ ...place, proof: [...(proofs[at] ?? [])] })),
        hashes: hashes.map((hash) => hash.toString('base64')),
        checkpoint: await checkpointFrom(from),
      };
    },
  };
}

const codeOf = (code: string) => (error: unknown) => error instanceof AppError && error.code === code;

test('the proof is bound to this connection, this node and this log', async () => {
  const { keys, ledger, sent, welcome, session } = bench();
  await welcome();
  const proof = sent[1]?.type === 'proof' ? sent[1].signature : '';
  const message = handshakeBytes({ nonce, origin: ledger.origin }, 'node1');
  assert.ok(verifyBytes(keys.publicKey, message, Buffer.from(proof, 'base64')));
  assert.equal(session.clockOffsetMs, 1_500);
});

test('entries that the collector only says it has are kept, and sent until it proves it', async () => {
  const { session, ledger, outbox, sent } = bench();
  const entries = [1, 2, 3].map((i) => outbox.append(statement(i)));
  await session.greet();
  await session.receive({ type: 'challenge', nonce, origin: ledger.origin });
  const checkpoint = { note: (await ledger.checkpoint()).note, consistency: [] };
  await session.receive({
    type: 'welcome',
    head: { ...outbox.head, proof: null },
    checkpoint,
    now: new Date().toISOString(),
  });
  assert.deepEqual([outbox.depth, outbox.acked.seq], [3, 0]);
  await session.pump();
  assert.deepEqual(sent.at(-1), { type: 'append', entries: entries.map(toWire) });
});

test('a chain head that is not ours ends the session', async () => {
  for (const seq of [1, 2]) {
    const fresh = bench();
    await fresh.session.greet();
    await fresh.session.receive({ type: 'challenge', nonce, origin: fresh.ledger.origin });
    const checkpoint = { note: (await fresh.ledger.checkpoint()).note, consistency: [] };
    fresh.outbox.append(statement(1));
    const head = { seq, hash: 'a'.repeat(64), proof: null };
    const welcome = { type: 'welcome', head, checkpoint, now: new Date().toISOString() } as const;
    await assert.rejects(fresh.session.receive(welcome), codeOf('ledger.sequence'));
    assert.equal(fresh.outbox.depth, 1);
  }
});

/** An entry of some chain, as the collector proves it to be the head. */
async function headOf({ ledger }: ReturnType<typeof bench>, author: string, seq: number) {
  const leaf = await ledger.entryOf(author, seq);
  assert.ok(leaf);
  const { hashes, proofs } = await ledger.inclusion([leaf.index], ledger.entries.length);
  return {
    seq,
    hash: entryHash(leaf.bytes),
    proof: {
      entry: toWire(leaf),
      index: leaf.index,
      proof: [...(proofs[0] ?? [])],
      hashes: hashes.map((hash) => hash.toString('base64')),
    },
  };
}

/** Three entries of node1, by a key it does not have any more, among those of others. */
async function earlierChain(at: ReturnType<typeof bench>): Promise<void> {
  await grow(at, 2);
  await grow(at, 3, 'node1');
  await grow(at, 3, 'node3');
}

type ProvedHead = Awaited<ReturnType<typeof headOf>>;

const headLies: readonly { readonly name: string; readonly tell: (head: ProvedHead) => Welcome['head'] }[] = [
  { name: 'another number', tell: (head) => ({ ...head, seq: 500 }) },
  { name: 'another hash', tell: (head) => ({ ...head, hash: 'ab'.repeat(32) }) },
  { name: 'another place', tell: (head) => ({ ...head, proof: { ...head.proof, index: head.proof.index - 1 } }) },
  { name: 'no hashes', tell: (head) => ({ ...head, proof: { ...head.proof, proof: [], hashes: [] } }) },
  {
    name: 'an altered entry',
    tell: (head) => {
      const entry = { ...head.proof.entry, text: head.proof.entry.text.replace('drift-2', 'drift-4') };
      return { seq: 3, hash: entryHash(Buffer.from(entry.text)), proof: { ...head.proof, entry } };
    },
  },
];

test('a head counts as proved with its entry and the place of that, whoever of the node signed it', async () => {
  const at = bench();
  await earlierChain(at);
  const head = await headOf(at, 'node1', 3);
  const anchored: unknown[] = [];
  at.outbox.anchor = async (told) => void anchored.push(told);
  await at.welcome(head);
  assert.deepEqual(anchored, [{ seq: 3, hash: head.hash, proved: true }]);
});

for (const { name, tell } of headLies) {
  test(`a head with the proof of ${name} is refused`, async () => {
    const at = bench();
    await earlierChain(at);
    const head = tell(await headOf(at, 'node1', 3));
    at.outbox.anchor = () => assert.fail('anchored');
    await assert.rejects(at.welcome(head), codeOf('ledger.proof'));
  });
}

test('the head of another node proves nothing', async () => {
  const at = bench();
  await earlierChain(at);
  await assert.rejects(at.welcome(await headOf(at, 'node3', 3)), codeOf('ledger.proof'));
});

test('messages out of turn end the session', async () => {
  for (const early of ['welcome', 'ack'] as const) {
    const { session, ackOf, outbox, welcome, sent } = bench();
    outbox.append(statement(1));
    await welcome();
    await session.pump();
    const ack = await ackOf(sent[2]);
    const fresh = bench();
    await fresh.session.greet();
    const now = new Date().toISOString();
    const message =
      early === 'ack'
        ? ack
        : { type: early, head: { seq: 0, hash: '0'.repeat(64), proof: null }, checkpoint: ack.checkpoint, now };
    await assert.rejects(fresh.session.receive(message), codeOf('validation.protocol'));
  }
});

test('no more than the bounded number of batches is under way, however much waits', async () => {
  const { session, outbox, sent, welcome, ackOf } = bench();
  for (let i = 0; i < 3_000; i++) outbox.append(statement(i));
  await welcome();
  await session.pump();
  const appends = () => sent.filter(({ type }) => type === 'append');
  assert.equal(appends().length, limits.maxAppendsInFlight);
  assert.ok(appends().every((append) => append.type === 'append' && append.entries.length <= limits.maxAppendEntries));
  await session.receive(await ackOf(appends()[0]));
  await session.pump();
  assert.equal(appends().length, limits.maxAppendsInFlight + 1);
});

test('the wait for an ack is counted from the last progress', async () => {
  const { session, outbox, sent, clock, welcome, ackOf } = bench();
  await welcome();
  assert.equal(session.awaitingSinceMs, undefined);
  const startMs = clock.at;
  for (let i = 0; i < 300; i++) outbox.append(statement(i));
  await session.pump();
  assert.equal(session.awaitingSinceMs, startMs);
  clock.at += 5_000;
  await session.receive(await ackOf(sent[2]));
  assert.equal(session.awaitingSinceMs, startMs + 5_000);
  await session.receive(await ackOf(sent[3]));
  assert.equal(session.awaitingSinceMs, undefined);
});

type Ack = Extract<CollectorMessage, { type: 'ack' }>;

const lies: readonly { readonly name: string; readonly code: string; readonly tell: (ack: Ack, other: Ack) => Ack }[] =
  [
    {
      name: 'a proof of another place',
      code: 'ledger.proof',
      tell: (ack) => ({
        ...ack,
        entries: ack.entries.map((entry) => ({ ...entry, index: entry.index === 0 ? 1 : 0 })),
      }),
    },
    {
      name: 'a changed hash',
      code: 'ledger.proof',
      tell: (ack) => ({ ...ack, hashes: ack.hashes.map(() => Buffer.alloc(32, 1).toString('base64')) }),
    },
    { name: 'a missing hash', code: 'ledger.proof', tell: (ack) => ({ ...ack, hashes: [] }) },
    {
      name: 'a hash that is none',
      code: 'validation.protocol',
      tell: (ack) => ({ ...ack, hashes: ack.hashes.map(() => 'x'.repeat(44)) }),
    },
    { name: 'nothing', code: 'validation.protocol', tell: (ack) => ({ ...ack, entries: [] }) },
    {
      name: 'entries not sent',
      code: 'validation.protocol',
      tell: (ack) => ({ ...ack, entries: ack.entries.map((entry) => ({ ...entry, seq: entry.seq + 1 })) }),
    },
    {
      name: 'the same twice',
      code: 'validation.protocol',
      tell: (ack) => ({ ...ack, entries: [...ack.entries, ...ack.entries] }),
    },
    {
      name: 'the proof of other entries',
      code: 'ledger.proof',
      tell: (ack, other) => ({
        ...other,
        entries: other.entries.map((entry, i) => ({ ...entry, seq: ack.entries[i]?.seq ?? 0 })),
      }),
    },
  ];

for (const { name, code, tell } of lies) {
  test(`an ack with ${name} trims nothing`, async () => {
    const { session, outbox, sent, welcome, ackOf, ledger } = bench();
    const strangers = memoryOutbox('node2', generateKeyPair().privateKey);
    await ledger.append([strangers.append(statement(0))]);
    await welcome();
    for (let i = 0; i < 3; i++) outbox.append(statement(i));
    await session.pump();
    const ack = await ackOf(sent[2]);
    const fake = await ledger.append([1, 2, 3].map((i) => strangers.append(statement(i))));
    const size = ledger.entries.length;
    const { hashes, proofs } = await ledger.inclusion(
      fake.map(({ index }) => index),
      size,
    );
    const consistency = await ledger.consistency(1, size);
    const elsewhere: Ack = {
      type: 'ack',
      entries: fake.map((place, at) => ({ ...place, proof: [...(proofs[at] ?? [])] })),
      hashes: hashes.map((hash) => hash.toString('base64')),
      checkpoint: { note: (await ledger.checkpoint()).note, consistency: consistency.map((h) => h.toString('base64')) },
    };
    await assert.rejects(session.receive(tell(ack, elsewhere)), codeOf(code));
    assert.deepEqual([outbox.depth, outbox.trims.length], [3, 0]);
  });
}

async function offered({ ledger, session, checkpointFrom }: ReturnType<typeof bench>, from: number): Promise<void> {
  await session.receive({ type: 'checkpoint', checkpoint: await checkpointFrom(from) });
  assert.ok(ledger.entries.length >= from);
}

async function grow({ ledger }: ReturnType<typeof bench>, count: number, author = 'node2'): Promise<void> {
  const strangers = memoryOutbox(author, generateKeyPair().privateKey);
  await ledger.append(Array.from({ length: count }, (_, i) => strangers.append(statement(i))));
}

test('a checkpoint is cosigned as a witness of the log, once it is held durably', async () => {
  const at = bench();
  await at.welcome();
  await grow(at, 3);
  let heldAtSending: string | undefined;
  at.onSend(() => {
    heldAtSending = at.outbox.checkpoint();
  });
  await offered(at, 0);
  const said = at.sent.at(-1);
  const { note } = await at.ledger.checkpoint();
  assert.ok(said?.type === 'cosign');
  assert.deepEqual([said.size, at.cosigned, heldAtSending], [3, [3], note]);
  const key = nodeWitnessKey(at.ledger.origin, 'node1', at.keys.publicKey);
  const line = { name: key.name, keyId: key.keyId, signature: Buffer.from(said.cosignature, 'base64') };
  assert.equal(verifyCosignature(parseNote(note).text, line, key), Math.floor(at.clock.at / 1_000));
  await offered(at, 3);
  assert.deepEqual(at.cosigned, [3, 3], 'the same one again is no contradiction');
});

test('however often it is asked, an agent writes and signs at a bounded rate', async () => {
  const at = bench();
  await at.welcome();
  await grow(at, 3);
  let writes = 0;
  const { trim } = at.outbox;
  at.outbox.trim = (...args) => {
    writes += 1;
    return trim(...args);
  };
  const { note, consistency } = await at.checkpointFrom(0);
  const first = at.sent.length;
  for (let i = 0; i < 50; i++) {
    // Other bytes each time, and still the same checkpoint.
    const junk = `— x ${Buffer.from(`AAAA${i}`.padStart(12, '0')).toString('base64')}\n`;
    await at.session.receive({ type: 'checkpoint', checkpoint: { note: note + junk, consistency } });
  }
  assert.deepEqual([writes, new Set(at.sent.slice(first).map((said) => JSON.stringify(said))).size], [1, 1]);
  for (let i = 1; i <= 10; i++) {
    at.clock.at += limits.cosignIntervalMs / 5;
    await grow(at, 1, `node${i + 10}`);
    await offered(at, i + 2);
  }
  assert.deepEqual([writes, at.cosigned.slice(50)], [3, [8, 13]]);
});

test('nothing is cosigned that could not be made durable', async () => {
  const at = bench();
  await at.welcome();
  await grow(at, 2);
  at.outbox.trim = () => Promise.reject(new AppError('outbox.write_failed', 'the disk is gone', { retryable: true }));
  const before = at.sent.length;
  await assert.rejects(offered(at, 0), codeOf('outbox.write_failed'));
  assert.deepEqual([at.sent.length, at.cosigned], [before, []]);
});

const deceits = [
  { name: 'a rollback', offer: (at: ReturnType<typeof bench>) => at.deceive(4, 0), reason: /rolled back from 5 to 4/ },
  {
    name: 'another root for the same size',
    offer: (at: ReturnType<typeof bench>) => at.deceive(4, 1),
    reason: /two different roots/,
  },
  {
    name: 'a fork that goes on',
    offer: (at: ReturnType<typeof bench>) => at.deceive(4, 4),
    reason: /does not lead to the root/,
  },
] as const;

for (const { name, offer, reason } of deceits) {
  test(`${name} is never cosigned: the evidence is kept first and then said, as the last word`, async () => {
    const at = bench();
    await grow(at, 5);
    await at.welcome();
    const { note: held } = await at.ledger.checkpoint();
    const checkpoint = await offer(at);
    let keptAtSending = 0;
    at.onSend(() => {
      keptAtSending = at.kept.length;
    });
    await assert.rejects(at.session.receive({ type: 'checkpoint', checkpoint }), codeOf('ledger.forked'));
    const last = at.sent.at(-1);
    assert.ok(last?.type === 'fork');
    assert.deepEqual([last.held, last.offered, keptAtSending], [held, checkpoint.note, 1]);
    assert.match(last.reason, reason);
    // Not even what would be in order otherwise.
    const before = at.sent.length;
    await assert.rejects(offered(at, 5), codeOf('ledger.forked'));
    assert.ok(at.sent.slice(before).every(({ type }) => type === 'fork'));
    assert.deepEqual(at.cosigned, []);
  });
}

test('a checkpoint with a wrong proof of consistency is a fork, one that the log did not sign is nothing', async () => {
  const at = bench();
  await grow(at, 5);
  await at.welcome();
  await grow(at, 4, 'node3');
  const { note } = await memoryLedger({ origin: at.ledger.origin }).checkpoint();
  const unsigned = at.session.receive({ type: 'checkpoint', checkpoint: { note, consistency: [] } });
  await assert.rejects(unsigned, codeOf('auth.signature'));
  assert.deepEqual([at.kept.length, at.sent.at(-1)?.type], [0, 'proof']);
  const checkpoint = { ...(await at.checkpointFrom(5)), consistency: [Buffer.alloc(32, 1).toString('base64')] };
  await assert.rejects(at.session.receive({ type: 'checkpoint', checkpoint }), codeOf('ledger.forked'));
  assert.equal(at.kept.length, 1);
});
