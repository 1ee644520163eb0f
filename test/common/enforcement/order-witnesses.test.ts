import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { cosign } from '../../../common/cosignature.ts';
import { cosignersOf } from '../../../common/enforcement/order-witnesses.ts';
import { refusalOf } from '../../../common/enforcement/permission.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { formatVerifierKey, type NoteSignature, noteSigner, type SignedNote, signNote } from '../../../common/note.ts';
import { nodeWitnessKey, nodeWitnessSigner } from '../../../common/witnesses.ts';
import { circumstances, commit, nowMs, orderFor, policyOf, rogue } from './ground.ts';

const origin = 'log.example/fleet';
const text = `${origin}\n7\n${Buffer.alloc(32, 1).toString('base64')}\n`;
const logKeys = generateKeyPair();

function witness(name: string) {
  const keys = generateKeyPair();
  const vkey = formatVerifierKey(nodeWitnessKey(origin, name, keys.publicKey));
  return { name, vkey, sign: (over = text) => cosign(over, nodeWitnessSigner(origin, name, keys), nowMs) };
}

const fleet = ['lyra', 'node1', 'node2', 'node3'].map(witness);
const keys = fleet.map(({ vkey }) => vkey);
const strangers = ['node1', 'node2', 'node4'].map(witness);

function noteWith(lines: readonly NoteSignature[]): SignedNote {
  const { signatures } = signNote(text, noteSigner(origin, 1, logKeys));
  return { text, signatures: [...signatures, ...lines] };
}

const pins = fleet.map(({ name, vkey }) => `    - {name: ${name}, key: "${vkey}"}\n`).join('');
const manifest = (quorum: string | number) =>
  `governance: {witnessed_orders: true}\nwitnesses:\n  quorum: ${quorum}\n  nodes:\n${pins}`;

function verdict(lines: readonly NoteSignature[], quorum: string | number = 'majority') {
  const policy = policyOf(manifest(quorum));
  const witnessedBy = cosignersOf(noteWith(lines), policy.witnesses?.keys ?? []);
  return refusalOf(orderFor(rogue), circumstances({ adopted: { commit, policy }, witnessedBy }))?.code;
}

describe('an order that has to be witnessed', () => {
  test('is obeyed once so many of those who are pinned have cosigned, and not before', () => {
    const signed = fleet.map((one) => one.sign());
    for (const [quorum, required] of [
      ['majority', 3],
      ['all', 4],
      [2, 2],
    ] as const) {
      assert.deepEqual(
        [0, 1, 2, 3, 4].map((count) => verdict(signed.slice(0, count), quorum)),
        [0, 1, 2, 3, 4].map((count) => (count < required ? 'unwitnessed' : undefined)),
      );
    }
  });

  test('counts each witness once, and nobody else, whatever name or key id he signs under', async () => {
    const [lyra, node1, node2] = fleet;
    assert.ok(lyra && node1 && node2);
    const elsewhere = `${origin}\n8\n${Buffer.alloc(32, 2).toString('base64')}\n`;
    const worthless: readonly NoteSignature[] = [
      lyra.sign(),
      ...strangers.map((one) => one.sign()),
      // Of another tree.
      ...fleet.map((one) => one.sign(elsewhere)),
      // A stranger's, under the name and key id of one who counts; and one's own, under another's.
      ...strangers.flatMap((one, at) => ({ ...one.sign(), ...idOf(fleet[at + 1]?.sign()) })),
      ...fleet.slice(1).map((one) => ({ ...lyra.sign(), ...idOf(one.sign()) })),
    ];
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray([...worthless, ...worthless]), async (lines) => {
        assert.equal(verdict([...lines, lyra.sign(), lyra.sign()]), 'unwitnessed');
      }),
      { numRuns: 100 },
    );
    assert.equal(verdict([lyra.sign(), ...strangers.map((one) => one.sign()), node1.sign(), node2.sign()]), undefined);
  });

  test('is not one of the node itself, which nobody can have kept from others', () => {
    const policy = policyOf(manifest('all'));
    const at = { adopted: { commit, policy } };
    assert.equal(refusalOf(orderFor(rogue), circumstances({ ...at, witnessedBy: null })), undefined);
    assert.equal(refusalOf(orderFor(rogue), circumstances({ ...at, witnessedBy: [] }))?.code, 'unwitnessed');
  });
});

test('a manifest that asks for no witnesses has nobody count cosignatures', () => {
  const policy = policyOf(`witnesses:\n  nodes:\n${pins}`);
  assert.equal(policy.witnesses, undefined);
  assert.equal(refusalOf(orderFor(rogue), circumstances({ adopted: { commit, policy } })), undefined);
});

test('the pins are those of the nodes and of the outside witnesses together', () => {
  const outside = witness('friend');
  const said = `${manifest('all')}  outside: [{key: "${outside.vkey}", url: "https://w.example"}]\n`;
  assert.deepEqual(policyOf(said).witnesses, { keys: [...keys, outside.vkey], required: 5 });
});

function idOf(line: NoteSignature | undefined) {
  return { name: line?.name ?? '', keyId: line?.keyId ?? 0 };
}
