import { type Checkpoint, type OpenedCheckpoint, openCheckpoint } from './checkpoint.ts';
import { type Cosignature, isTimelessCosignature, verifyCosignature } from './cosignature.ts';
import { AppError } from './errors.ts';
import { type NoteSignature, parseNote, type SignedNote, signaturesBy, type VerifierKey } from './note.ts';
import { noQuorum, type Policy, type PolicyWitness } from './policy.ts';

/*
 * What a policy (C2SP tlog-policy) says about a checkpoint: signed by a log it names, cosigned by which of its witnesses,
 * and whether they are enough.
 */

/** An Ed25519 `timestamped_signature`: 8 bytes of time, 64 of signature. */
const cosignatureBytes = 72;

export interface WitnessedBy extends Cosignature {
  /** The witness as the policy calls it. */
  readonly name: string;
}

/** A checkpoint by a log of the policy, all of whose signatures by known keys were verified. */
export interface JudgedCheckpoint extends OpenedCheckpoint {
  readonly logKey: VerifierKey;
  /** In the order of the policy. */
  readonly cosignatures: readonly WitnessedBy[];
  /** Names of witnesses with a cosignature that does not count, since it is of a time that no clock shows. */
  readonly timeless: readonly string[];
  readonly quorumReached: boolean;
  /** Signatures by keys that the policy does not name; they count for nothing and prove nothing wrong. */
  readonly unknownSignatures: number;
}

/**
 * A checkpoint that counts under the policy.
 * @throws AppError `ledger.quorum` when too few witnesses cosigned it, and as {@link weighCheckpoint}.
 */
export function judgeCheckpoint(note: string, policy: Policy): JudgedCheckpoint {
  const judged = weighCheckpoint(note, policy);
  const missing = missingQuorum(judged, policy);
  if (missing !== undefined) throw missing;
  return judged;
}

/**
 * Who vouches for the checkpoint; whether that is enough is for the caller to look at.
 * @throws AppError `ledger.proof` when it is no checkpoint; `auth.signature` when no log of the policy signed it, or when
 *   a signature by a key of the policy is wrong or stands under another's name.
 */
export function weighCheckpoint(note: string, policy: Policy): JudgedCheckpoint {
  const logKey = logOf(note, policy);
  const opened = openCheckpoint(note, logKey);
  const cosignatures = policy.witnesses.flatMap((witness) => cosignaturesBy(opened.note, witness));
  const unknown = unknownOf(opened.note, [logKey, ...policy.witnesses.map(({ key }) => key)]);
  requireUnmistaken(opened.note.text, unknown, policy.witnesses);
  const names = new Set(cosignatures.map(({ name }) => name));
  const quorumReached = isQuorum(policy, names);
  const timeless = policy.witnesses.filter((witness) => timelessBy(opened.note, witness).length > 0);
  const timelessNames = timeless.map(({ name }) => name);
  return { ...opened, logKey, cosignatures, timeless: timelessNames, quorumReached, unknownSignatures: unknown.length };
}

/** Whether the witnesses called `names` are enough. */
export function isQuorum({ groups, quorum }: Policy, names: ReadonlySet<string>): boolean {
  if (quorum === noQuorum) return true;
  const witnessed = new Set(names);
  // In the order of the file, where members come before the group.
  for (const { name, threshold, members } of groups) {
    if (members.filter((member) => witnessed.has(member)).length >= threshold) witnessed.add(name);
  }
  return witnessed.has(quorum);
}

/** The log of the policy that the note claims to be from; its signature is not verified yet. */
function logOf(note: string, { logs }: Policy): VerifierKey {
  const parsed = parseNote(note);
  const log = logs.find(({ key }) => parsed.text.startsWith(`${key.name}\n`) && signaturesBy(parsed, key).length > 0);
  if (log !== undefined) return log.key;
  const wanted = logs.map(({ key }) => key.name).join(', ');
  throw new AppError(
    'auth.signature',
    logs.length === 0 ? 'the policy names no log' : `the checkpoint is not signed by a log of the policy (${wanted})`,
  );
}

function cosignaturesBy(note: SignedNote, { name, key }: PolicyWitness): WitnessedBy[] {
  const timeless = timelessBy(note, { key });
  const lines = signaturesBy(note, key).filter((line) => !timeless.includes(line));
  const times = lines.map((line) => verifyCosignature(note.text, line, key));
  return times.length === 0 ? [] : [{ name, key, timestampSeconds: Math.max(...times) }];
}

/** What a known witness signed of its own will, so that refusing the note for it would let one witness spoil the others' word. */
function timelessBy(note: SignedNote, { key }: Pick<PolicyWitness, 'key'>): NoteSignature[] {
  return signaturesBy(note, key).filter((line) => isTimelessCosignature(note.text, line, key));
}

function unknownOf(note: SignedNote, known: readonly VerifierKey[]): NoteSignature[] {
  const ids = new Set(known.map(({ name, keyId }) => `${keyId} ${name}`));
  return note.signatures.filter(({ name, keyId }) => !ids.has(`${keyId} ${name}`));
}

/**
 * Signatures by unknown keys are passed over, as the specification demands. One that a known witness made, under a name or
 * key id with a changed byte in it, is not by an unknown key: it is damage, and must not pass for one cosignature less.
 */
function requireUnmistaken(text: string, unknown: readonly NoteSignature[], witnesses: readonly PolicyWitness[]): void {
  for (const line of unknown) {
    for (const { key } of witnesses) {
      if (key.name !== line.name && key.keyId !== line.keyId) continue;
      if (!isMadeBy(text, line, key) && !hasBrokenTime(line)) continue;
      throw new AppError(
        'auth.signature',
        `a cosignature by ${key.name} is damaged: it stands under the name ${line.name} with a key id that are not both its own`,
      );
    }
  }
}

function isMadeBy(text: string, line: NoteSignature, key: VerifierKey): boolean {
  try {
    verifyCosignature(text, { ...line, name: key.name, keyId: key.keyId }, key);
    return true;
  } catch {
    return false;
  }
}

/** The last digit of base64 with key id in it carries the first bits of the time too, so one byte can damage both. */
function hasBrokenTime({ signature }: NoteSignature): boolean {
  return signature.length === cosignatureBytes && signature.readUInt8(0) >= 16;
}

/** The error `ledger.quorum` that says who cosigned; undefined when that is enough. */
export function missingQuorum(judged: JudgedCheckpoint, policy: Policy): AppError | undefined {
  if (judged.quorumReached) return undefined;
  const { checkpoint, cosignatures } = judged;
  const names = cosignatures.map(({ name }) => name);
  const by = names.length === 0 ? 'no witness of the policy' : names.join(', ');
  return new AppError(
    'ledger.quorum',
    `the checkpoint of ${sizeOf(checkpoint)} is cosigned by ${by}, which does not make the quorum "${policy.quorum}"`,
    { details: { size: checkpoint.size, cosignedBy: names, quorum: policy.quorum } },
  );
}

function sizeOf({ origin, size }: Checkpoint): string {
  return `${origin} at size ${size}`;
}
