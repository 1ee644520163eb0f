import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createWitness, type Witness } from '../../agent/witness.ts';
import { AppError } from '../../common/errors.ts';
import { generateKeyPair } from '../../common/keys.ts';
import { statementSchema } from '../../common/kinds.ts';
import { parseVerifierKey } from '../../common/note.ts';
import { type MemoryLedger, memoryLedger } from '../fakes/ledger.ts';
import { memoryOutbox } from '../fakes/outbox.ts';
import { statement } from '../wire.ts';

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
