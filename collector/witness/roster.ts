import { AppError, toAppError } from '../../common/errors.ts';
import { publicKeyFromRaw, rawPublicKey } from '../../common/keys.ts';
import { formatVerifierKey, parseVerifierKey, type VerifierKey } from '../../common/note.ts';
import { fleetPolicy, formatPolicy } from '../../common/policy.ts';
import {
  defaultWitnesses,
  nodeWitnessKey,
  type OutsideWitness,
  type PinnedNode,
  type Quorum,
  quorumSize,
  type WitnessesWanted,
} from '../../common/witnesses.ts';
import type { ActiveNode, StoredCosignature } from './ports.ts';

/** A witness that counts at this moment. */
export interface RosterWitness {
  readonly kind: 'node' | 'outside';
  /** The node, or what the manifest calls it. */
  readonly label: string;
  readonly key: VerifierKey;
  /** Submission prefix; of outside witnesses only. */
  readonly url?: string;
}

/** Who may witness, and how many have to. */
export interface Roster {
  readonly witnesses: readonly RosterWitness[];
  readonly quorum: Quorum;
  /** How many cosignatures make a quorum; undefined while that cannot be said. */
  readonly required: number | undefined;
  /** Why it cannot. */
  readonly problem: string | undefined;
}

/** Puts rosters together. Keys are made once, however often it is asked, and a roster too while nobody else counts. */
export function createRosterMaker(origin: string): (nodes: readonly ActiveNode[], wanted: WitnessesWanted) => Roster {
  let known = new Map<string, VerifierKey>();
  let last: { readonly of: string; readonly roster: Roster } | undefined;
  return (nodes, wanted) => {
    const ids = nodes.map(({ node, publicKey }) => `${node} ${publicKey.toString('base64')}`);
    const of = [JSON.stringify(wanted), ...ids].join('\n');
    if (last?.of === of) return last.roster;
    const keys = new Map<string, VerifierKey>();
    const inside = nodes.map(({ node, publicKey }, at): RosterWitness => {
      const id = ids[at] ?? '';
      const key = known.get(id) ?? nodeWitnessKey(origin, node, publicKeyFromRaw(publicKey));
      keys.set(id, key);
      return { kind: 'node', label: node, key };
    });
    known = keys;
    const witnesses = distinct([...inside, ...wanted.outside.map(outsideWitness)]);
    const roster = { witnesses, quorum: wanted.quorum, ...sizeOf(wanted.quorum, witnesses.length) };
    last = { of, roster };
    return roster;
  };
}

/** These nodes as a manifest pins them. */
export function pinsOf(origin: string, nodes: readonly ActiveNode[]): PinnedNode[] {
  const { witnesses } = createRosterMaker(origin)(nodes, defaultWitnesses);
  return witnesses.map(({ label, key }) => ({ name: label, key: formatVerifierKey(key) }));
}

/** Whether those who made `cosignatures` (verified) are enough. */
export function isQuorate({ witnesses, required }: Roster, cosignatures: readonly StoredCosignature[]): boolean {
  const signed = new Set(cosignatures.map(({ keyId, witness }) => `${keyId} ${witness}`));
  const counted = witnesses.filter(({ key }) => signed.has(`${key.keyId} ${key.name}`)).length;
  return required !== undefined && counted >= required;
}

/**
 * The roster as a policy file (C2SP tlog-policy), for whoever verifies offline.
 * @throws AppError `state.conflict` while the quorum cannot be said.
 */
export function policyText({ witnesses, required, problem }: Roster, logKey: VerifierKey): string {
  if (required === undefined) throw new AppError('state.conflict', problem ?? 'there is no quorum');
  const log = { key: logKey };
  return formatPolicy(
    fleetPolicy({
      log,
      witnesses: witnesses.map(({ key, url }) => ({ key, ...(url === undefined ? {} : { url }) })),
      threshold: required,
    }),
  );
}

function sizeOf(quorum: Quorum, witnesses: number): Pick<Roster, 'required' | 'problem'> {
  try {
    return { required: quorumSize(quorum, witnesses), problem: undefined };
  } catch (thrown) {
    return { required: undefined, problem: toAppError(thrown).message };
  }
}

function outsideWitness({ name, key: vkey, url }: OutsideWitness): RosterWitness {
  const key = parseVerifierKey(vkey);
  return { kind: 'outside', label: name ?? key.name, key, url };
}

/** One key is one witness, and one name: whoever is listed a second time, a node named as an outsider too, counts once. */
function distinct(witnesses: readonly RosterWitness[]): RosterWitness[] {
  const taken = new Set<string>();
  return witnesses.filter(({ key }) => {
    const marks = [`key ${rawPublicKey(key.publicKey).toString('base64')}`, `name ${key.name}`];
    if (marks.some((mark) => taken.has(mark))) return false;
    for (const mark of marks) taken.add(mark);
    return true;
  });
}
