import { hash, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { nodeName } from './fields.ts';
import { rawPublicKey, signBytes } from './keys.ts';
import { limits } from './limits.ts';

/** Where a node asks to be enrolled: `POST`, JSON both ways. */
export const enrolPath = '/api/v1/enrol';

/** Join tokens: a prefix that secret scanners can look for, and 32 random bytes in base64url. */
export const joinTokenText = z.string().regex(/^swj_[A-Za-z0-9_-]{43}$/, 'swj_ and 43 characters of base64url');

/** A node's wish to be enrolled under a key made on the node. */
export const enrolRequest = z.strictObject({
  token: joinTokenText,
  node: nodeName,
  /** Raw Ed25519 key, 32 bytes in base64. */
  public_key: z.base64().length(44),
  agent_version: z.string().min(1).max(64),
  /** By the new key over {@link enrolBytes}: whoever enrols a key holds it. */
  signature: z.base64().length(88),
});

/** What a node needs to trust this collector and nobody else. */
export const enrolResponse = z.strictObject({
  node: nodeName,
  fingerprint: z.string().max(64),
  origin: z.string().max(limits.maxForeignTextChars),
  /** Verifier key of the ledger's checkpoints (C2SP signed-note). */
  vkey: z.string().max(limits.maxForeignTextChars),
});

export type EnrolRequest = z.infer<typeof enrolRequest>;
export type EnrolResponse = z.infer<typeof enrolResponse>;

/** SHA-256 of a token's text: what is stored of it, and what is signed in its place. */
export function tokenHash(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}

/** What the new key signs. Bound to token, node and key, so the signature is worth nothing anywhere else. */
export function enrolBytes({ token, node, public_key }: Pick<EnrolRequest, 'token' | 'node' | 'public_key'>): Buffer {
  return Buffer.from(`sigilwatch/enrol/v1\n${tokenHash(token).toString('hex')}\n${node}\n${public_key}\n`, 'utf8');
}

/** A complete request, signed. */
export function signEnrolment(
  wish: Pick<EnrolRequest, 'token' | 'node' | 'agent_version'>,
  keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
): EnrolRequest {
  const request = { ...wish, public_key: rawPublicKey(keys.publicKey).toString('base64') };
  return { ...request, signature: signBytes(keys.privateKey, enrolBytes(request)).toString('base64') };
}
