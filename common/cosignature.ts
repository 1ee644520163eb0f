import { AppError } from './errors.ts';
import { signatureBytes, signBytes, verifyBytes, verifyBytesAsync } from './keys.ts';
import { limits } from './limits.ts';
import { type NoteSignature, type NoteSigner, type SignedNote, signaturesBy, type VerifierKey } from './note.ts';

/*
 * Witness signatures on checkpoints, C2SP tlog-cosignature, the Ed25519 form cosignature/v1: "at this time, this is the
 * largest tree I have seen of this log, and it extends every earlier one I have seen".
 *
 * A node cosigns with the one key it has. That is safe because no two things it signs can be taken for each other: entries
 * are canonical JSON and begin with a brace, handshakes and enrolments with `sigilwatch/`, cosignatures with
 * `cosignature/v1` (the specification's domain separation). The message does not name the witness, so a key must stand for
 * one witness only; a node's is `<origin>/<node>`, and a key that is already another node's is not enrolled.
 */

/** Bytes of a `timestamped_signature`: a 64-bit time and an Ed25519 signature. */
export const cosignatureBytes = 8 + signatureBytes;

/** A verified cosignature. */
export interface Cosignature {
  readonly key: VerifierKey;
  /** Unix seconds, by the witness's clock. */
  readonly timestampSeconds: number;
}

const timestampBytes = 8;

/** 13 September 275760, the last moment that a Date can hold; RFC 3339 and PostgreSQL give out earlier or soon after. */
const maxTimestampSeconds = 8.64e12;

/**
 * The signature line with which a witness vouches for the checkpoint whose note text is `text`. The caller has
 * verified its consistency with the last one it cosigned, and stored it.
 * @param unixMs when; the line carries whole seconds.
 */
export function cosign(text: string, signer: NoteSigner, unixMs: number): NoteSignature {
  const timestampSeconds = Math.floor(unixMs / 1_000);
  const signature = Buffer.allocUnsafe(timestampBytes + signatureBytes);
  signature.writeBigUInt64BE(BigInt(timestampSeconds));
  signature.set(signBytes(signer.privateKey, cosignedMessage(text, timestampSeconds)), timestampBytes);
  return { name: signer.name, keyId: signer.keyId, signature };
}

/** `note` with a cosignature added, replacing an earlier one by the same key. */
export function withCosignature(note: SignedNote, added: NoteSignature): SignedNote {
  const others = note.signatures.filter(({ name, keyId }) => name !== added.name || keyId !== added.keyId);
  return { text: note.text, signatures: [...others, added] };
}

/**
 * The witnesses among `keys` (cosignature/v1) that cosigned the note, each once, with its latest time. Signatures
 * by other keys are ignored; none at all is an empty answer, since only the caller knows how many it needs.
 * @throws AppError `auth.signature` when a signature under a known name and key id is wrong.
 */
export function verifyCosignatures(note: SignedNote, keys: readonly VerifierKey[]): Cosignature[] {
  return keys.flatMap((key) => {
    const times = signaturesBy(note, key).map((line) => verifyCosignature(note.text, line, key));
    return times.length === 0 ? [] : [{ key, timestampSeconds: Math.max(...times) }];
  });
}

/**
 * When `key` made this cosignature of the note text `text`, in Unix seconds.
 * @throws AppError `auth.signature` unless it did.
 */
export function verifyCosignature(text: string, line: NoteSignature, key: VerifierKey): number {
  const { signature } = line;
  const timestampSeconds = cosignatureTime(signature);
  const message = cosignedMessage(text, timestampSeconds);
  if (line.name !== key.name || line.keyId !== key.keyId) throw wrong(key, 'it was made by another key');
  if (!verifyBytes(key.publicKey, message, signature.subarray(timestampBytes))) throw wrong(key, 'it does not verify');
  return timestampSeconds;
}

/**
 * As {@link verifyCosignature}, on the thread pool, for whoever gets many at once.
 * @throws AppError `auth.signature` unless `key` made it.
 */
export async function verifyCosignatureAsync(text: string, line: NoteSignature, key: VerifierKey): Promise<number> {
  const { signature } = line;
  const timestampSeconds = cosignatureTime(signature);
  const message = cosignedMessage(text, timestampSeconds);
  if (line.name !== key.name || line.keyId !== key.keyId) throw wrong(key, 'it was made by another key');
  if (!(await verifyBytesAsync(key.publicKey, message, signature.subarray(timestampBytes)))) {
    throw wrong(key, 'it does not verify');
  }
  return timestampSeconds;
}

/**
 * The unverified time in a `timestamped_signature`, in Unix seconds.
 * @throws AppError `auth.signature` when it is none.
 */
export function cosignatureTime(signature: Buffer): number {
  if (signature.length !== cosignatureBytes) {
    throw new AppError('auth.signature', 'not a cosignature/v1: expected a timestamp and an Ed25519 signature');
  }
  const seconds = signature.readBigUInt64BE();
  if (seconds <= maxTimestampSeconds) return Number(seconds);
  throw new AppError('auth.signature', `a cosignature of a time that no clock shows: ${seconds} s after 1970`);
}

/**
 * Whether `key` did make this cosignature, of a time for which {@link verifyCosignature} refuses it. It counts for nothing, and
 * is no damage that somebody else has done either.
 */
export function isTimelessCosignature(text: string, line: NoteSignature, key: VerifierKey): boolean {
  const { name, keyId, signature } = line;
  if (name !== key.name || keyId !== key.keyId || signature.length !== cosignatureBytes) return false;
  const seconds = signature.readBigUInt64BE();
  if (seconds <= maxTimestampSeconds) return false;
  return verifyBytes(key.publicKey, cosignedMessage(text, seconds), signature.subarray(timestampBytes));
}

/** Whether a cosignature was made later than a collector at `nowMs` accepts from whoever has a clock of his own. */
export function isFromFuture(timestampSeconds: number, nowMs: number): boolean {
  return timestampSeconds * 1_000 > nowMs + limits.maxCosignatureAheadMs;
}

function cosignedMessage(text: string, timestampSeconds: number | bigint): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${timestampSeconds}\n${text}`);
}

function wrong(key: VerifierKey, reason: string): AppError {
  return new AppError('auth.signature', `cosignature by ${key.name}: ${reason}`);
}
