import { hash } from 'node:crypto';
import { z } from 'zod';
import { AppError } from './errors.ts';
import { nodeName } from './fields.ts';
import { type KeyPair, keyPairFromSeed, rawPublicKey, signBytes } from './keys.ts';
import { limits } from './limits.ts';

/** Where a node asks to be enrolled: `POST`, JSON both ways. */
export const enrolPath = '/api/v1/enrol';

/** Bytes of the SHA-256 of the log's verifier key that a join token carries: enough that nobody finds a second key. */
const logKeyHashBytes = 16;

/** The secret half of a join token: a prefix that secret scanners can look for, and 32 random bytes in base64url. */
const joinSecret = /^swj_[A-Za-z0-9_-]{43}$/;
const logKeyHash = /^[A-Za-z0-9_-]{22}$/;

/** What an operator carries from the collector to the node, past whoever listens on the network. */
export interface JoinToken {
  /** Never leaves the node: it is the seed of a key, which signs the one wish to enrol. */
  readonly secret: string;
  /** Which log the token is about: see {@link hashLogKey}. */
  readonly logKeyHash: string;
}

/** `swj_SECRET.LOGKEYHASH`. */
export function formatJoinToken({ secret, logKeyHash: hashed }: JoinToken): string {
  return `${secret}.${hashed}`;
}

/** @throws AppError `validation.request` for anything else; the text is not repeated, it may be good elsewhere. */
export function parseJoinToken(text: string): JoinToken {
  const [secret = '', hashed, ...rest] = text.split('.');
  if (joinSecret.test(secret) && hashed === undefined) {
    throw new AppError(
      'validation.request',
      'the token lacks its second part, after the dot, which says which log to trust; copy all of it, or make a new one with "sigilwatch-collector nodes token NODE"',
    );
  }
  if (joinSecret.test(secret) && hashed !== undefined && logKeyHash.test(hashed) && rest.length === 0) {
    return { secret, logKeyHash: hashed };
  }
  throw new AppError(
    'validation.request',
    'token: expected swj_, 43 characters of base64url, a dot and 22 more, as "sigilwatch-collector nodes token NODE" shows it',
  );
}

/** What a join token says of the log's verifier key (C2SP signed-note text form), in base64url. */
export function hashLogKey(vkey: string): string {
  return hash('sha256', vkey, 'buffer').subarray(0, logKeyHashBytes).toString('base64url');
}

/**
 * The key pair of a join token's secret. Its public half is what travels and what the collector stores a hash of, so
 * neither the wire nor the database shows anything that another key could be enrolled with.
 */
export function joinKeys(secret: string): KeyPair {
  return keyPairFromSeed(hash('sha256', `sigilwatch/join/v1\n${secret}\n`, 'buffer'));
}

/** SHA-256 of a join token's raw public key: what is stored of the token. */
export function joinKeyHash(rawKey: Uint8Array): Buffer {
  return hash('sha256', rawKey, 'buffer');
}

/** A node's wish to be enrolled under a key made on the node. */
export const enrolRequest = z.strictObject({
  /** Raw Ed25519 key of the join token, 32 bytes in base64; see {@link joinKeys}. */
  token_key: z.base64().length(44),
  node: nodeName,
  /** Raw Ed25519 key, 32 bytes in base64. */
  public_key: z.base64().length(44),
  agent_version: z.string().min(1).max(64),
  /** By the new key over {@link enrolBytes}: whoever enrols a key holds it. */
  signature: z.base64().length(88),
  /** By the token's key over the same: whoever enrols a key holds the token, and nobody on the way swaps the key. */
  token_signature: z.base64().length(88),
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

/** SHA-256 of an operator token's text: what is stored of it. */
export function tokenHash(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}

type Wish = Pick<EnrolRequest, 'token_key' | 'node' | 'public_key' | 'agent_version'>;

/** What both keys sign. Bound to token, node, key and version, so the signatures are worth nothing anywhere else. */
export function enrolBytes({ token_key, node, public_key, agent_version }: Wish): Buffer {
  return Buffer.from(`sigilwatch/enrol/v2\n${token_key}\n${node}\n${public_key}\n${agent_version}\n`, 'utf8');
}

/** A complete request, signed with the node's new key and with that of the token's secret. */
export function signEnrolment(
  { secret, ...wish }: Pick<EnrolRequest, 'node' | 'agent_version'> & Pick<JoinToken, 'secret'>,
  keys: KeyPair,
): EnrolRequest {
  const token = joinKeys(secret);
  const rawKey = ({ publicKey }: KeyPair) => rawPublicKey(publicKey).toString('base64');
  const request = { ...wish, token_key: rawKey(token), public_key: rawKey(keys) };
  const bytes = enrolBytes(request);
  const sign = ({ privateKey }: KeyPair) => signBytes(privateKey, bytes).toString('base64');
  return { ...request, signature: sign(keys), token_signature: sign(token) };
}
