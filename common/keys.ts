import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { AppError } from './errors.ts';

/** Length of a raw Ed25519 public key and of a signature, in bytes (RFC 8032). */
export const publicKeyBytes = 32;
export const signatureBytes = 64;

/** DER prefix of an Ed25519 SubjectPublicKeyInfo (RFC 8410); the 32 raw key bytes follow. */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');
/** DER prefix of an Ed25519 PKCS#8 private key (RFC 8410); the 32 seed bytes follow. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** A fresh Ed25519 key pair from the operating system's randomness. */
export function generateKeyPair(): KeyPair {
  return generateKeyPairSync('ed25519');
}

/** The raw 32 bytes of an Ed25519 public key. */
export function rawPublicKey(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' }).subarray(spkiPrefix.length);
}

/** @throws AppError `auth.signature` unless `raw` is 32 bytes. */
export function publicKeyFromRaw(raw: Uint8Array): KeyObject {
  if (raw.length !== publicKeyBytes) throw new AppError('auth.signature', 'an Ed25519 public key has 32 bytes');
  return createPublicKey({ key: Buffer.concat([spkiPrefix, raw]), format: 'der', type: 'spki' });
}

/** The pair for a 32-byte RFC 8032 seed. */
export function keyPairFromSeed(seed: Uint8Array): KeyPair {
  const privateKey = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}

/** Fingerprint people compare: `SHA256:` and the unpadded base64 of the hash of the raw key, as OpenSSH prints it. */
export function fingerprint(key: KeyObject): string {
  return `SHA256:${createHash('sha256').update(rawPublicKey(key)).digest('base64').replace(/=+$/, '')}`;
}

/** 64-byte Ed25519 signature of `message` (RFC 8032, pure mode). */
export function signBytes(privateKey: KeyObject, message: Uint8Array): Buffer {
  return sign(null, message, privateKey);
}

/** Whether `signature` is `publicKey`'s over `message`; false for any malformed signature. */
export function verifyBytes(publicKey: KeyObject, message: Uint8Array, signature: Uint8Array): boolean {
  return signature.length === signatureBytes && verify(null, message, publicKey, signature);
}

/** As {@link verifyBytes}, beside the event loop. */
export type VerifySignature = (publicKey: KeyObject, message: Uint8Array, signature: Uint8Array) => Promise<boolean>;

/** On the thread pool. */
export function verifyBytesAsync(publicKey: KeyObject, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (signature.length !== signatureBytes) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    verify(null, message, publicKey, signature, (error, valid) => (error ? reject(error) : resolve(valid)));
  });
}
