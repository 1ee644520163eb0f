import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createWitness, type Witness } from '../../../agent/link/witness.ts';
import { AppError } from '../../../common/errors.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { statementSchema } from '../../../common/kinds.ts';
import { parseVerifierKey } from '../../../common/note.ts';
import { type MemoryLedger, memoryLedger } from '../../fakes/ledger.ts';
import { memoryOutbox } from '../../fakes/outbox.ts';
import { statement } from '../../wire.ts';

function writer(ledger: MemoryLedger, author: string) {
  const outbox = memoryOutbox(author, generateKeyPair().privateKey);
  return async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await ledger.append([outbox.append(statement(i))]);
  };
}

async function update(ledger: MemoryLedger, from: number) {
  const { size, note } = await ledger.checkpoint();
  return { note, consistency: from <= size ? await ledger.consistency(from, size) : [] };
}

const follow = async (witness: Witness, ledger: MemoryLedger) =>
  witness.accept(await update(ledger, witness.held?.size ?? 0));

const codeOf = (code: string) => (error: unknown) => error instanceof AppError && error.code === code;

test('every honest growth of a log is accepted, from any size to any other', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(9), { maxLength: 8 }), async (growth) => {
      const ledger = memoryLedger();
      const write = writer(ledger, 'node1');
      const witness = createWitness(parseVerifierKey(ledger.vkey), undefined);
      for (const count of growth) {
        await write(count);
        assert.equal((await follow(witness, ledger)).size, ledger.entries.length);
      }
    }),
    { numRuns: 30 },
  );
});

test('a log that forks before what was held, at the same size or a larger one, is refused for good', async () => {
  for (const extra of [2, 5]) {
    const ledger = memoryLedger();
    await writer(ledger, 'node1')(5);
    const witness = createWitness(parseVerifierKey(ledger.vkey), (await ledger.checkpoint()).note);
    const forked = ledger.fork(3);
    await writer(forked, 'node2')(extra);
    await assert.rejects(follow(witness, forked), codeOf('ledger.forked'));
    assert.deepEqual(
      [witness.fork?.body.held, witness.fork?.body.offered],
      [(await ledger.checkpoint()).note, (await forked.checkpoint()).note],
    );
    assert.equal(witness.held?.size, 5);
    await writer(ledger, 'node3')(1);
    await assert.rejects(follow(witness, ledger), codeOf('ledger.forked'));
  }
});

test('a smaller size is a rollback, and the evidence is a statement the ledger can hold', async () => {
  const ledger = memoryLedger();
  await writer(ledger, 'node1')(5);
  const witness = createWitness(parseVerifierKey(ledger.vkey), (await ledger.checkpoint()).note);
  await assert.rejects(follow(witness, ledger.fork(4)), codeOf('ledger.forked'));
  assert.match(witness.fork?.body.reason ?? '', /rolled back from 5 to 4/);
  assert.deepEqual(statementSchema.parse(witness.fork), witness.fork);
});

test('what the log key did not sign is refused, and is no evidence against the log', async () => {
  const ledger = memoryLedger();
  await writer(ledger, 'node1')(3);
  const witness = createWitness(parseVerifierKey(ledger.vkey), (await ledger.checkpoint()).note);
  const impostor = memoryLedger({ origin: ledger.origin });
  await assert.rejects(follow(witness, impostor), codeOf('auth.signature'));
  assert.throws(() => witness.accept({ note: 'hello', consistency: [] }), codeOf('ledger.proof'));
  assert.equal(witness.fork, undefined);
  await writer(ledger, 'node2')(2);
  assert.equal((await follow(witness, ledger)).size, 5);
});

test('an earlier state of the log is recalled from whatever is held, and one of another log of that key is a fork', async () => {
  const ledger = memoryLedger();
  const write = writer(ledger, 'node1');
  await write(3);
  const earlier = await ledger.checkpoint();
  const forked = ledger.fork(2);
  await writer(forked, 'node2')(2);
  await write(4);
  const key = parseVerifierKey(ledger.vkey);
  const open = async () => {
    const witness = createWitness(key, undefined);
    witness.accept(await update(ledger, 0));
    return witness;
  };
  const witness = await open();
  const consistency = await ledger.consistency(3, 7);
  assert.equal(witness.recall({ note: earlier.note, consistency }).checkpoint.size, 3);
  assert.equal(witness.recall({ note: (await ledger.checkpoint()).note, consistency: [] }).checkpoint.size, 7);
  assert.equal(witness.held?.size, 7, 'what is held stays so');
  // Later than what is held, or by nobody we know: no evidence against the log.
  await write(1);
  const later = (await ledger.checkpoint()).note;
  assert.throws(() => witness.recall({ note: later, consistency: [] }), codeOf('validation.protocol'));
  const foreign = await memoryLedger({ keys: generateKeyPair() }).checkpoint();
  assert.throws(() => witness.recall({ note: foreign.note, consistency: [] }), codeOf('auth.signature'));
  const suspected = () => witness.fork?.body.offered;
  assert.equal(suspected(), undefined);
  const shown = await forked.checkpoint();
  assert.throws(() => witness.recall({ note: shown.note, consistency }), codeOf('ledger.forked'));
  assert.equal(suspected(), shown.note);
  const spoilt = await open();
  assert.throws(() => spoilt.recall({ note: earlier.note, consistency: [] }), codeOf('ledger.forked'));
});
