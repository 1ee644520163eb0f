import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { createOutsideClient, type OutsideClient } from '../../../collector/witness/outside.ts';
import { createOutsideCrowd } from '../../../collector/witness/outside-crowd.ts';
import type { StoredCosignature } from '../../../collector/witness/ports.ts';
import { createRosterMaker } from '../../../collector/witness/roster.ts';
import { verifyCosignature } from '../../../common/cosignature.ts';
import { AppError } from '../../../common/errors.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import { parseNote, parseVerifierKey } from '../../../common/note.ts';
import { type MemoryLedger, memoryLedger } from '../../fakes/ledger.ts';
import { memoryOutbox } from '../../fakes/outbox.ts';
import { type OutsideWitnessServer, startOutsideWitness } from '../../fakes/outside-witness.ts';
import { until } from '../../until.ts';
import { type LoggedEvent, recordingLogger, statement, systemClock } from '../../wire.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const codeOf = (code: string) => (error: unknown) => error instanceof AppError && error.code === code;

async function witnessOf(vkey: string | undefined, name?: string): Promise<OutsideWitnessServer> {
  const witness = await startOutsideWitness(vkey, name);
  cleanups.push(witness.close);
  return witness;
}

function clientFor(witness: OutsideWitnessServer, ledger: MemoryLedger, timeoutMs = 5_000): OutsideClient {
  const client = createOutsideClient({ key: parseVerifierKey(witness.vkey), url: witness.url }, ledger, {
    ...{ timeoutMs, clock: systemClock },
  });
  cleanups.push(client.close);
  return client;
}

function grown(count: number): { ledger: MemoryLedger; grow: (count: number) => Promise<void> } {
  const ledger = memoryLedger();
  const author = memoryOutbox('node1', generateKeyPair().privateKey);
  const grow = async (more: number): Promise<void> => {
    await ledger.append(Array.from({ length: more }, (_, i) => author.append(statement(i))));
  };
  for (let i = 0; i < count; i++) void ledger.append([author.append(statement(i))]);
  return { ledger, grow };
}

async function roundOf(ledger: MemoryLedger) {
  const { size, note } = await ledger.checkpoint();
  return { size, note, text: parseNote(note).text };
}

async function status(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 200,
    (thrown: unknown) => (thrown instanceof AppError ? thrown.details.status : thrown),
  );
}

test('a witness written from the specification alone cosigns, however the log grows', async () => {
  const { ledger, grow } = grown(1);
  const witness = await witnessOf(ledger.vkey);
  const client = clientFor(witness, ledger);
  let known = 0;
  for (const more of [0, 1, 5, 1, 58, 200]) {
    await grow(more);
    const round = await roundOf(ledger);
    const line = await client.addCheckpoint(round, known);
    assert.ok(verifyCosignature(round.text, line, parseVerifierKey(witness.vkey)) > 0);
    known = round.size;
    assert.equal(witness.size, known);
  }
  assert.deepEqual(new Set(witness.statuses), new Set([200]));
});

test('where the witness stands is learned from its own word, once per call', async () => {
  const { ledger, grow } = grown(5);
  const witness = await witnessOf(ledger.vkey);
  await clientFor(witness, ledger).addCheckpoint(await roundOf(ledger), 0);
  await grow(4);
  await clientFor(witness, ledger).addCheckpoint(await roundOf(ledger), 0);
  assert.deepEqual(witness.statuses, [200, 409, 200]);
  // Somebody else is always faster.
  witness.misbehave = (response) => {
    witness.size = witness.size === 3 ? 4 : 3;
    response.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end(`${witness.size}\n`);
  };
  assert.equal(await status(clientFor(witness, ledger).addCheckpoint(await roundOf(ledger), 0)), 409);
});

test('each refusal is told apart, and says what to do', async () => {
  const { ledger, grow } = grown(3);
  const round = await roundOf(ledger);
  assert.equal(await status(clientFor(await witnessOf(undefined), ledger).addCheckpoint(round, 0)), 404);
  const stranger = memoryLedger({ origin: ledger.origin });
  assert.equal(await status(clientFor(await witnessOf(stranger.vkey), ledger).addCheckpoint(round, 0)), 403);
  const witness = await witnessOf(ledger.vkey);
  await clientFor(witness, ledger).addCheckpoint(round, 0);
  await grow(2);
  const lying = { consistency: async () => [Buffer.alloc(32)], checkpoint: () => ledger.checkpoint() };
  const client = createOutsideClient({ key: parseVerifierKey(witness.vkey), url: witness.url }, lying, {
    ...{ timeoutMs: 5_000, clock: systemClock },
  });
  cleanups.push(client.close);
  assert.equal(await status(client.addCheckpoint(await roundOf(ledger), 3)), 422);
});

test('a witness that has seen what the ledger does not hold is the end of trust in the ledger', async () => {
  const { ledger, grow } = grown(3);
  await grow(4);
  const witness = await witnessOf(ledger.vkey);
  await clientFor(witness, ledger).addCheckpoint(await roundOf(ledger), 0);
  const restored = ledger.fork(5);
  await assert.rejects(clientFor(witness, restored).addCheckpoint(await roundOf(restored), 0), codeOf('ledger.forked'));
  const author = memoryOutbox('node9', generateKeyPair().privateKey);
  await restored.append([1, 2].map((i) => author.append(statement(i))));
  await assert.rejects(clientFor(witness, restored).addCheckpoint(await roundOf(restored), 7), codeOf('ledger.forked'));
  // Ahead of this round only, because another collector has begun the next one.
  const round = await roundOf(ledger);
  await grow(1);
  await clientFor(witness, ledger).addCheckpoint(await roundOf(ledger), 7);
  await assert.rejects(clientFor(witness, ledger).addCheckpoint(round, 3), codeOf('collector.refused'));
});

test('answers that are none are refused: another key, another checkpoint, noise, too much, too late', async () => {
  const { ledger, grow } = grown(3);
  const witness = await witnessOf(ledger.vkey);
  const impostor = await witnessOf(ledger.vkey);
  const round = await roundOf(ledger);
  const foreign = await clientFor(impostor, ledger).addCheckpoint(round, 0);
  const own = await clientFor(witness, ledger).addCheckpoint(round, 0);
  const line = ({ name, keyId, signature }: typeof own): string => {
    const id = Buffer.alloc(4);
    id.writeUInt32BE(keyId);
    return `\u2014 ${name} ${Buffer.concat([id, signature]).toString('base64')}\n`;
  };
  await grow(1);
  const next = await roundOf(ledger);
  const answers = [
    line(foreign),
    line(own),
    line({ ...own, signature: foreign.signature }),
    '',
    'hello\n',
    '\n\n',
    line(own).trimEnd(),
  ];
  for (const text of answers) {
    witness.misbehave = (response) => response.writeHead(200).end(text);
    await assert.rejects(
      clientFor(witness, ledger).addCheckpoint(next, 3),
      codeOf('auth.signature'),
      JSON.stringify(text),
    );
  }
  witness.misbehave = (response) => response.writeHead(200).end('x'.repeat(limits.maxWitnessAnswerBytes + 1));
  await assert.rejects(clientFor(witness, ledger).addCheckpoint(next, 3), codeOf('collector.unreachable'));
  witness.misbehave = () => {};
  await assert.rejects(clientFor(witness, ledger, 50).addCheckpoint(next, 3), codeOf('collector.unreachable'));
  witness.misbehave = (response) => response.writeHead(302, { location: witness.url }).end();
  assert.equal(await status(clientFor(witness, ledger).addCheckpoint(next, 3)), 302);
});

test('a cosignature by a clock that is far ahead is refused, a little is forgiven', async () => {
  const { ledger } = grown(3);
  const round = await roundOf(ledger);
  const behind = (byMs: number) => ({ now: () => Date.now() - byMs });
  for (const [byMs, code] of [
    [limits.maxCosignatureAheadMs - 60_000, undefined],
    [limits.maxCosignatureAheadMs + 60_000, 'auth.signature'],
  ] as const) {
    const witness = await witnessOf(ledger.vkey);
    const target = { key: parseVerifierKey(witness.vkey), url: witness.url };
    const client = createOutsideClient(target, ledger, { timeoutMs: 5_000, clock: behind(byMs) });
    cleanups.push(client.close);
    const asked = client.addCheckpoint(round, 0);
    if (code === undefined) await asked;
    else await assert.rejects(asked, codeOf(code));
  }
});

test('once a client is closed it asks nobody, not even what it was about to ask', async () => {
  const { ledger } = grown(5);
  const witness = await witnessOf(ledger.vkey);
  const client = clientFor(witness, ledger);
  const asking = client.addCheckpoint(await roundOf(ledger), 0);
  await Promise.all([client.close(), assert.rejects(asking, codeOf('collector.unreachable'))]);
  assert.deepEqual(witness.statuses, []);
});

test('one witness that hangs delays no other, and is asked again when it is back', async () => {
  const { ledger, grow } = grown(2);
  const [good, hung] = [await witnessOf(ledger.vkey, 'w.example/good'), await witnessOf(ledger.vkey, 'w.example/hung')];
  hung.misbehave = () => {};
  const added: { size: number; one: StoredCosignature }[] = [];
  const events: LoggedEvent[] = [];
  const crowd = createOutsideCrowd({
    ledger,
    add: (size, one) => void added.push({ size, one }),
    clock: systemClock,
    random: () => 0,
    logger: recordingLogger(events),
    metrics: { round: () => {}, cosignature: () => {}, forkReport: () => {}, outside: () => {} },
    timeoutMs: 2_000,
  });
  cleanups.push(crowd.close);
  const wanted = { quorum: 'majority', outside: [good, hung].map(({ vkey: key, url }) => ({ key, url })) } as const;
  const roster = createRosterMaker(ledger.origin)([], { ...wanted, outside: [...wanted.outside] });
  const sizesOf = (name: string) => added.flatMap(({ size, one }) => (one.witness === name ? [size] : []));
  for (const size of [2, 3, 4]) {
    crowd.offer(await roundOf(ledger), roster);
    await until(`cosigned ${size}`, () => sizesOf('w.example/good').includes(size));
    await grow(1);
  }
  await until('the hung one was given up', () => events.some(({ event }) => event === 'witness.outside_failed'));
  assert.deepEqual(sizesOf('w.example/hung'), []);
  hung.misbehave = undefined;
  await until('the hung one is asked again', async () => {
    crowd.offer(await roundOf(ledger), roster);
    return sizesOf('w.example/hung').includes(5);
  });
  assert.equal(events.filter(({ event }) => event === 'witness.outside_failed').length, 1);
});
