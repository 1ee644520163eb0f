import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roundEveryMs } from '../../../collector/witness/pace.ts';
import type { StoredCheckpoint, WitnessStore } from '../../../collector/witness/ports.ts';
import { createRosterMaker } from '../../../collector/witness/roster.ts';
import { createRounds } from '../../../collector/witness/rounds.ts';
import { generateKeyPair, rawPublicKey } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import { defaultWitnesses } from '../../../common/witnesses.ts';
import { memoryLedger } from '../../fakes/ledger.ts';
import { memoryOutbox } from '../../fakes/outbox.ts';
import { testOrigin } from '../../ledgers.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { statement } from '../../wire.ts';

/** So many that nobody is asked more often than every ten seconds, unless somebody waits. */
const witnesses = 1_000;
const nodes = Array.from({ length: witnesses }, (_, at) => ({
  node: `node${at}`,
  publicKey: rawPublicKey(generateKeyPair().publicKey),
}));
const quiet = { round: () => {}, cosignature: () => {}, forkReport: () => {}, outside: () => {} };

/** Rounds over a ledger in memory, by a clock that goes as the test says. */
function ground() {
  const at = { ms: 1_000_000 };
  const ledger = memoryLedger({ origin: testOrigin });
  const outbox = memoryOutbox('lyra', generateKeyPair().privateKey);
  const begun: { readonly size: number; readonly notWithinMs: number }[] = [];
  let newest: StoredCheckpoint | undefined;
  const store: WitnessStore = {
    activeNodes: async () => nodes,
    standing: async () => ({
      ledgerSize: ledger.entries.length,
      newest: newest && { ...newest, witnessed: true },
      ...{ witnessed: undefined, unwitnessedSinceMs: undefined },
    }),
    open: async (checkpoint, notWithinMs) => {
      begun.push({ size: checkpoint.size, notWithinMs });
      newest = checkpoint;
      return true;
    },
    checkpoint: async () => newest,
    cosignatures: async () => [],
    addCosignatures: async () => {},
    reached: async () => false,
    claimGap: async () => undefined,
    recordedGap: async () => {},
    lastCosigned: async () => [],
    announce: async () => {},
    prune: async () => {},
  };
  const roster = createRosterMaker(testOrigin)(nodes, defaultWitnesses);
  const rounds = createRounds({
    ...{ store, roster: async () => roster, offer: () => {}, offerOutside: () => {}, logger: quietLogger },
    ledger: { ...ledger, origin: testOrigin, record: () => Promise.reject(new Error('nothing is to be recorded')) },
    clock: { now: () => at.ms, monotonicMs: () => at.ms },
    metrics: quiet,
    signal: new AbortController().signal,
  });
  const append = async (): Promise<number> => {
    await ledger.append([outbox.append(statement(ledger.entries.length + 1))]);
    return ledger.entries.length;
  };
  return { at, rounds, begun, append };
}

test('a round that somebody waits for does not wait for the pace of a large fleet, and the next one does again', async () => {
  const everyMs = roundEveryMs(witnesses);
  assert.equal(everyMs, 10 * limits.witnessRoundMs, 'a large fleet is asked seldom');
  const { at, rounds, begun, append } = ground();
  const sizes = () => begun.map(({ size }) => size);
  await append();
  await rounds.tick();
  assert.deepEqual(sizes(), [1]);
  const size = await append();
  at.ms += 2 * limits.witnessRoundMs;
  await rounds.tick();
  assert.deepEqual(sizes(), [1], 'nobody waits for it');
  rounds.hurry(size);
  await until('the round has begun', () => begun.length === 2);
  // The next look does as if it were the first to see the last of what was appended.
  await append();
  at.ms += 2 * limits.witnessRoundMs;
  await rounds.tick();
  assert.deepEqual(sizes(), [1, 2], 'hurry is over with the round that it was for');
  at.ms += everyMs;
  await rounds.tick();
  assert.deepEqual(sizes(), [1, 2, 3]);
  const [first, hurried, last] = begun.map(({ notWithinMs }) => notWithinMs);
  assert.deepEqual([first, last], [0.9 * everyMs, 0.9 * everyMs]);
  assert.equal(hurried, 0.9 * limits.witnessRoundMs, 'nor does it wait for what another collector began at that pace');
  await rounds.close();
});

test('what a round has covered is hurried for no more, and however many wait there is one round', async () => {
  const { at, rounds, begun, append } = ground();
  await append();
  await rounds.tick();
  at.ms += 2 * limits.witnessRoundMs;
  rounds.hurry(1);
  const size = await append();
  for (let waiting = 0; waiting < 5; waiting += 1) rounds.hurry(size);
  await until('the round has begun', () => begun.length === 2);
  await rounds.tick();
  assert.equal(begun.length, 2);
  await rounds.close();
});
