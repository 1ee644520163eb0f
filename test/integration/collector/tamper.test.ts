import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openCheckpoint } from '../../../common/checkpoint.ts';
import { AppError } from '../../../common/errors.ts';
import { signatureTypes, verifierKey } from '../../../common/note.ts';
import { type Random, randomOf, seedOf } from '../../e2e/random.ts';
import { collectorKeys, testOrigin } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { columnsOf, flipOne } from './tamper-flips.ts';
import { erasedTo, firstFault, inUndone, makeVictim, type Victim } from './tamper-ledger.ts';
import { runAttacks } from './tamper-runs.ts';
import { structuralAttacks } from './tamper-structure.ts';

/*
 * What the owner of the database can do without anybody's key: superuser, triggers off, constraints dropped. Each attack is
 * made in a transaction, verified in it and undone.
 */

const long = process.env.SIGILWATCH_TEST_LONG === '1';
const [flips, structural] = long ? [10_000, 1_000] : [150, 40];
/** Every so many flips are made in the checkpoint file, and in the ledger some of which is erased. */
const [checkpointShare, erasedShare] = [25, 5];
/** Every so many are looked for with signatures at once; the others when no entry is named without, which is seldom. */
const signedShare = 4;

/** Without anything that would move the cursor of whoever is told. */
const harmless = /^\P{Cc}{1,600}$/u;
/** Flips under way, each in a transaction that the others do not see. */
const atOnce = 4;

const attacks = { ...structuralAttacks, ...runAttacks };
const seed = seedOf('tampering');
let postgres: TestPostgres;
let victim: Victim;
let erased: Victim;

before(async () => {
  postgres = await startPostgres();
  victim = await makeVictim(await postgres.migratedDatabase(), { erased: false });
  erased = await makeVictim(await postgres.migratedDatabase(), { erased: true });
});
after(async () => {
  await victim?.close();
  await erased?.close();
  await postgres?.stop();
});

test('both ledgers are in order before and after', async () => {
  for (const { db, kept } of [victim, erased]) assert.equal(await firstFault(db, [kept]), undefined);
});

test(`${flips} single bytes changed anywhere: found every time, and the right entry named`, async () => {
  const [columns, erasedColumns] = [await columnsOf(victim, 0), await columnsOf(erased, erasedTo)];
  const inLedger = async (trial: number, random: Random) => {
    const [{ db, kept }, from] = trial % erasedShare === 0 ? [erased, erasedColumns] : [victim, columns];
    await inUndone(db, async (tx) => {
      let flip = await flipOne(tx, random, from);
      while (flip === undefined) flip = await flipOne(tx, random, from);
      // One byte leaves the entries before it in order: the one that is named without signatures is the first with them.
      const quick = trial % signedShare === 0 ? undefined : await firstFault(tx, [kept], false);
      const fault = typeof quick?.index === 'number' ? quick : await firstFault(tx, [kept]);
      const told = `${flip.what} (trial ${trial}, seed ${seed}): ${JSON.stringify(fault)}`;
      assert.ok(fault !== undefined, `not found: ${told}`);
      assert.match(fault.message, harmless);
      assert.ok(flip.named.includes(fault.index), `entry ${flip.named.join(' or ')} was to be named: ${told}`);
    });
  };
  let next = 0;
  const work = async () => {
    // Each draws from a source of its own, so that what it does is the same whoever comes before it.
    for (let trial = next++; trial < flips; trial = next++) {
      const random = randomOf(seed, `flip ${trial}`);
      if (trial % checkpointShare === 0)
        flipCheckpoint(random.int(0, Buffer.byteLength(victim.note) - 1), random.int(1, 255));
      else await inLedger(trial, random);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  for (const { db, kept } of [victim, erased]) assert.equal(await firstFault(db, [kept]), undefined);
});

function flipCheckpoint(at: number, mask: number): void {
  const bytes = Buffer.from(victim.note);
  bytes[at] = (bytes[at] ?? 0) ^ mask;
  const key = verifierKey(testOrigin, signatureTypes.ed25519, collectorKeys.publicKey);
  assert.throws(
    () => openCheckpoint(bytes.toString('utf8'), key),
    AppError,
    `byte ${at} of the checkpoint, mask ${mask}`,
  );
}

describe(`rows cut off, deleted, exchanged, copied and added, ${structural} times`, () => {
  for (const [name, attack] of Object.entries(attacks)) {
    test(`${name}: found against a saved checkpoint, and the right entry named`, async () => {
      const random = randomOf(seed, name);
      const trials = Math.ceil(structural / Object.keys(attacks).length);
      for (let trial = 0; trial < trials; trial++) {
        await inUndone(victim.db, async (tx) => {
          const expected = await attack({ tx, random, victim });
          const fault = await firstFault(tx, [victim.kept]);
          const told = `trial ${trial}, seed ${seed}: ${JSON.stringify(fault)}`;
          assert.ok(fault !== undefined, `not found: ${told}`);
          assert.equal(fault.fault, expected.fault ?? fault.fault, told);
          assert.ok(
            expected.named.includes(fault.index),
            `entry ${expected.named.join(' or ')} was to be named: ${told}`,
          );
        });
      }
    });
  }
});
