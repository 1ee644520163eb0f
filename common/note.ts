import { hash, type KeyObject } from 'node:crypto';
import { decodeBase64 } from './encoding.ts';
import { AppError } from './errors.ts';
import { type KeyPair, publicKeyBytes, publicKeyFromRaw, rawPublicKey, signBytes, verifyBytes } from './keys.ts';
import { limits } from './limits.ts';

/*
 * Signed notes, C2SP signed-note: a text, an empty line, and one signature line per key. What is not a note at all
 * fails with `ledger.proof`, what is not signed as it must be with `auth.signature`.
 */

/** The signature types used here: plain Ed25519 (logs) and timestamped cosignature/v1 (witnesses). */
export const signatureTypes = { ed25519: 0x01, cosignatureV1: 0x04 } as const;
export type SignatureType = (typeof signatureTypes)[keyof typeof signatureTypes];

/** One signature line. Name and key id together say which key and algorithm made `signature`. */
export interface NoteSignature {
  readonly name: string;
  /** Unsigned 32-bit. */
  readonly keyId: number;
  readonly signature: Buffer;
}

export interface SignedNote {
  /** Ends in a newline, which is signed too. */
  readonly text: string;
  /** In the order of the note, those of unknown keys included. */
  readonly signatures: readonly NoteSignature[];
}

interface NoteKey {
  readonly name: string;
  readonly keyId: number;
  readonly type: SignatureType;
}

export interface VerifierKey extends NoteKey {
  readonly publicKey: KeyObject;
}

export interface NoteSigner extends NoteKey {
  readonly privateKey: KeyObject;
}

const signaturePrefix = '\u2014 ';
const keyIdBytes = 4;

/** First four bytes of SHA-256(name || newline || type || raw public key), as the specification recommends. */
export function noteKeyId(name: string, type: SignatureType, publicKey: KeyObject): number {
  const input = Buffer.concat([Buffer.from(`${name}\n`), typedKey(type, publicKey)]);
  return hash('sha256', input, 'buffer').readUInt32BE(0);
}

/** @throws AppError `auth.signature` for a name that is empty or has a space or plus in it. */
export function verifierKey(name: string, type: SignatureType, publicKey: KeyObject): VerifierKey {
  requireKeyName(name);
  return { name, type, keyId: noteKeyId(name, type, publicKey), publicKey };
}

/** @throws AppError `auth.signature` for a name that is empty or has a space or plus in it. */
export function noteSigner(name: string, type: SignatureType, pair: KeyPair): NoteSigner {
  requireKeyName(name);
  return { name, type, keyId: noteKeyId(name, type, pair.publicKey), privateKey: pair.privateKey };
}

/** The key as one word for configuration files: `<name>+<key id in hex>+<base64 of type and raw key>`. */
export function formatVerifierKey(key: VerifierKey): string {
  return `${key.name}+${hexKeyId(key.keyId)}+${typedKey(key.type, key.publicKey).toString('base64')}`;
}

/**
 * The key that {@link formatVerifierKey} wrote.
 * @throws AppError `auth.signature` for another shape or type, or when the key id is not that of the name and key.
 */
export function parseVerifierKey(text: string): VerifierKey {
  const [, name = '', keyId = '', material = ''] = /^([^+]*)\+([0-9a-f]{8})\+(.*)$/su.exec(text) ?? [];
  const bytes = decodeBase64(material);
  const type = Object.values(signatureTypes).find((known) => known === bytes?.[0]);
  if (bytes?.length !== 1 + publicKeyBytes || type === undefined) {
    throw new AppError('auth.signature', 'not a verifier key; expected name+key id+base64 of an Ed25519 key');
  }
  const key = verifierKey(name, type, publicKeyFromRaw(bytes.subarray(1)));
  if (hexKeyId(key.keyId) !== keyId) {
    throw new AppError('auth.signature', `verifier key ${name}: key id ${keyId} does not belong to this name and key`);
  }
  return key;
}

/** The note as it is stored and sent. */
export function formatNote(note: SignedNote): string {
  return `${note.text}\n${note.signatures.map(formatSignature).join('')}`;
}

/**
 * Text and signatures, nothing verified yet: trust no text before {@link verifyNote}.
 * @throws AppError `ledger.proof` when `note` is not a signed note or longer than `limits.maxNoteChars`.
 */
export function parseNote(note: string): SignedNote {
  if (note.length > limits.maxNoteChars) throw malformedNote(`longer than ${limits.maxNoteChars} characters`);
  requireNoteText(note);
  const end = note.lastIndexOf('\n\n');
  if (end < 0) throw malformedNote('no empty line between text and signatures');
  const lines = note.slice(end + 2, -1).split('\n');
  return { text: note.slice(0, end + 1), signatures: lines.map(parseSignature) };
}

/**
 * The signed note of `text` with one plain Ed25519 signature.
 * @throws AppError `ledger.proof` when `text` cannot be a note: no final newline, control characters.
 */
export function signNote(text: string, signer: NoteSigner): SignedNote {
  requireNoteText(text);
  const signature = signBytes(signer.privateKey, Buffer.from(text));
  return { text, signatures: [{ name: signer.name, keyId: signer.keyId, signature }] };
}

/**
 * The keys of `keys` (plain Ed25519) that signed the note. Signatures of other keys are ignored.
 * @throws AppError `auth.signature` when none did, or when a signature under a known name and key id is wrong.
 */
export function verifyNote(note: SignedNote, keys: readonly VerifierKey[]): VerifierKey[] {
  const message = Buffer.from(note.text);
  const signers = keys.filter((key) => {
    const signatures = signaturesBy(note, key);
    if (!signatures.every(({ signature }) => verifyBytes(key.publicKey, message, signature))) {
      throw new AppError('auth.signature', `the note's signature by ${key.name} is wrong`);
    }
    return signatures.length > 0;
  });
  if (signers.length > 0) return signers;
  const wanted = keys.map((key) => `${key.name}+${hexKeyId(key.keyId)}`).join(', ');
  throw new AppError('auth.signature', `the note is not signed by any trusted key (${wanted})`);
}

/** The signatures that claim to be made by `key`; a name alone or a key id alone is somebody else. */
export function signaturesBy(note: SignedNote, key: NoteKey): NoteSignature[] {
  return note.signatures.filter(({ name, keyId }) => name === key.name && keyId === key.keyId);
}

function formatSignature({ name, keyId, signature }: NoteSignature): string {
  const payload = Buffer.allocUnsafe(keyIdBytes + signature.length);
  payload.writeUInt32BE(keyId);
  payload.set(signature, keyIdBytes);
  return `${signaturePrefix}${name} ${payload.toString('base64')}\n`;
}

function parseSignature(line: string): NoteSignature {
  const [name = '', encoded = '', ...rest] = line.slice(signaturePrefix.length).split(' ');
  const payload = decodeBase64(encoded);
  if (!line.startsWith(signaturePrefix) || rest.length > 0 || !isKeyName(name)) {
    throw malformedNote('a line after the last empty line is not a signature');
  }
  if (payload === undefined || payload.length <= keyIdBytes) throw malformedNote(`broken signature by ${name}`);
  return { name, keyId: payload.readUInt32BE(0), signature: payload.subarray(keyIdBytes) };
}

function typedKey(type: SignatureType, publicKey: KeyObject): Buffer {
  return Buffer.concat([Buffer.of(type), rawPublicKey(publicKey)]);
}

function hexKeyId(keyId: number): string {
  return keyId.toString(16).padStart(2 * keyIdBytes, '0');
}

function isKeyName(name: string): boolean {
  return /^[^\p{White_Space}\p{Cc}+]+$/u.test(name) && name.isWellFormed();
}

function requireKeyName(name: string): void {
  if (!isKeyName(name)) {
    throw new AppError('auth.signature', `key name "${name}" must not be empty or contain spaces or a plus`);
  }
}

function requireNoteText(text: string): void {
  if (!text.endsWith('\n')) throw malformedNote('no newline at the end');
  if (/[^\n -\u{10ffff}]/u.test(text)) throw malformedNote('control characters');
  if (!text.isWellFormed()) throw malformedNote('not valid Unicode');
}

function malformedNote(reason: string): AppError {
  return new AppError('ledger.proof', `not a signed note: ${reason}`);
}
