import { credentialHash } from './credentials.ts';
import { type RandomBytes, tokenBytes, tokenPrefixes } from './tokens.ts';

/**
 * Two random halves behind one prefix. The first stays for as long as the session lasts and names it; nobody who was never given a
 * token of it can name it, so nobody else can end it by a made-up one. The second is new with every use.
 */
export interface RefreshToken {
  readonly family: Buffer;
  readonly secret: Buffer;
}

const form = new RegExp(`^${tokenPrefixes.refresh}([A-Za-z0-9_-]+)$`);

export function newRefreshToken(randomBytes: RandomBytes, family = randomBytes(tokenBytes)): RefreshToken {
  return { family, secret: randomBytes(tokenBytes) };
}

export function formatRefreshToken({ family, secret }: RefreshToken): string {
  return `${tokenPrefixes.refresh}${Buffer.concat([family, secret]).toString('base64url')}`;
}

/** Undefined for what is no refresh token. */
export function parseRefreshToken(text: string): RefreshToken | undefined {
  const [, encoded] = form.exec(text) ?? [];
  const bytes = Buffer.from(encoded ?? '', 'base64url');
  // Written the one way in which we write it: one token is one text.
  if (bytes.length !== 2 * tokenBytes || bytes.toString('base64url') !== encoded) return undefined;
  return { family: bytes.subarray(0, tokenBytes), secret: bytes.subarray(tokenBytes) };
}

/** What is stored of it. */
export function refreshTokenHashes({ family, secret }: RefreshToken) {
  return {
    familyHash: credentialHash(family.toString('base64url')),
    secretHash: credentialHash(secret.toString('base64url')),
  };
}
