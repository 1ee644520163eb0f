import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StoredCosignature, WitnessStore } from '../../../collector/witness/ports.ts';
import { publishWitnesses } from '../../../collector/witness/published.ts';
import type { Roster } from '../../../collector/witness/roster.ts';
import { signCheckpoint } from '../../../common/checkpoint.ts';
import { cosign, verifyCosignatures } from '../../../common/cosignature.ts';
import { keyPairFromSeed } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import { emptyRange, rootOf } from '../../../common/merkle.ts';
import { noteSigner, parseNote, signatureTypes, verifierKey } from '../../../common/note.ts';
import { nodeWitnessKey, nodeWitnessSigner } from '../../../common/witnesses.ts';
import { collectorKeys, stoppedClock, testOrigin } from '../../ledgers.ts';

const logKey = verifierKey(testOrigin, signatureTypes.ed25519, collectorKeys.publicKey);
const checkpoint = { origin: testOrigin, size: 0, root: rootOf(emptyRange), extensions: [] };
const plain = {
  size: 0,
  note: signCheckpoint(checkpoint, noteSigner(testOrigin, signatureTypes.ed25519, collectorKeys)),
};

/** A checkpoint that all of a fleet of `nodes` have cosigned. */
function cosigned(nodes: number, required: number) {
  const witnesses = Array.from({ length: nodes }, (_, i) => {
    const label = `node${i}`;
    const keys = keyPairFromSeed(Buffer.alloc(32, i + 1));
    return { label, keys, key: nodeWitnessKey(testOrigin, label, keys.publicKey) };
  });
  const { text } = parseNote(plain.note);
  const cosignatures = witnesses.map(({ label, keys }): StoredCosignature => {
    const { name, keyId, signature } = cosign(text, nodeWitnessSigner(testOrigin, label, keys), stoppedClock.now());
    return { witness: name, keyId, cosignature: signature };
  });
  const roster: Roster = {
    witnesses: witnesses.map(({ label, key }) => ({ kind: 'node', label, key })),
    quorum: required,
    required,
    problem: undefined,
  };
  return { roster, cosignatures };
}

function publish({ roster, cosignatures }: ReturnType<typeof cosigned>) {
  const nothing = async () => undefined;
  const store: WitnessStore = {
    activeNodes: async () => [],
    standing: async () => ({ ledgerSize: 0, newest: undefined, witnessed: plain, unwitnessedSinceMs: undefined }),
    open: async () => false,
    checkpoint: nothing,
    cosignatures: async () => cosignatures,
    addCosignatures: nothing,
    reached: async () => false,
    claimGap: nothing,
    recordedGap: nothing,
    lastCosigned: async () => [],
    announce: nothing,
    prune: nothing,
  };
  const options = { logKey, store, roster: async () => roster, checkpoint: async () => plain, clock: stoppedClock };
  return publishWitnesses(options).note();
}

test('a large fleet does not make the checkpoint unreadable for clients that take a hundred signatures', async () => {
  const fleet = cosigned(150, 76);
  const note = parseNote(await publish(fleet));
  assert.equal(note.signatures.length, 100);
  assert.equal(note.signatures[0]?.keyId, logKey.keyId);
  const keys = fleet.roster.witnesses.map(({ key }) => key);
  assert.equal(verifyCosignatures(note, keys).length, limits.servedCosignatures);
});

test('a quorum of more than that is served whole', async () => {
  const note = parseNote(await publish(cosigned(150, 120)));
  assert.equal(note.signatures.length, 121);
});

test('a cosignature that does not verify takes nobody else his place', async () => {
  const fleet = cosigned(110, 99);
  for (const one of fleet.cosignatures.slice(0, 11)) one.cosignature.fill(1, 8);
  const note = parseNote(await publish(fleet));
  assert.equal(note.signatures.length, 100);
});
