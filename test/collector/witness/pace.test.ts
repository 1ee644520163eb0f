import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roundEveryMs } from '../../../collector/witness/pace.ts';
import { createRosterMaker } from '../../../collector/witness/roster.ts';
import { generateKeyPair, rawPublicKey } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import { defaultWitnesses } from '../../../common/witnesses.ts';
import { testOrigin } from '../../ledgers.ts';

test('a small fleet is asked every second, a large one less often, and none so seldom that the ledger counts as unwitnessed', () => {
  assert.deepEqual(
    [0, 4, 100, 500, 1_000, 2_000, 1_000_000].map((witnesses) => roundEveryMs(witnesses)),
    [1_000, 1_000, 1_000, 5_000, 10_000, 20_000, 20_000],
  );
  assert.ok(2 * limits.maxWitnessRoundMs < limits.maxUnwitnessedMs);
});

test('a roster is made anew when somebody else counts, and only then', () => {
  const nodes = ['node1', 'node2'].map((node) => ({ node, publicKey: rawPublicKey(generateKeyPair().publicKey) }));
  const rosterOf = createRosterMaker(testOrigin);
  const first = rosterOf(nodes, defaultWitnesses);
  assert.equal(rosterOf([...nodes], { ...defaultWitnesses }), first);
  const smaller = rosterOf(nodes.slice(1), defaultWitnesses);
  assert.deepEqual(
    smaller.witnesses.map(({ label }) => label),
    ['node2'],
  );
  assert.equal(rosterOf(nodes.slice(1), { ...defaultWitnesses, quorum: 'none' }).required, 0);
  const rekeyed = nodes.map(({ node }) => ({ node, publicKey: rawPublicKey(generateKeyPair().publicKey) }));
  assert.notDeepEqual(
    rosterOf(rekeyed, defaultWitnesses).witnesses.map(({ key }) => key.keyId),
    first.witnesses.map(({ key }) => key.keyId),
  );
});
