import { hkdfSync, type KeyObject } from 'node:crypto';
import { errors, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { AppError } from '../../common/errors.ts';
import { type KeyPair, keyPairFromSeed } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import { roles } from './permissions.ts';
import type { AccessTokens } from './ports.ts';
import type { RandomBytes } from './tokens.ts';

/** Who access tokens are for: what else trusts this key must not take them for its own. */
export const accessTokenAudience = 'sigilwatch-collector';

/** RFC 9068: no other kind of token, of ours or anybody's, passes for one. */
const accessTokenType = 'at+jwt';
const algorithm = 'EdDSA';

const claims = z.object({
  sub: z.string().min(1),
  role: z.enum(roles).exclude(['anonymous']),
  sid: z.string().min(1),
  jti: z.string().min(1),
  exp: z.int(),
});

/**
 * The key that access tokens are signed with: derived (HKDF-SHA256, RFC 5869) from the collector's. So several collectors on one
 * database, which have copies of one key, take each other's tokens without a second secret that would have to be copied, backed
 * up and kept; and a signature on a token can never be one on a checkpoint or an entry.
 */
export function accessTokenKeys(collectorKey: KeyObject, origin: string): KeyPair {
  // The seed itself: an Ed25519 key in PKCS#8 ends with its 32 bytes (RFC 8410).
  const seed = collectorKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
  const derived = hkdfSync('sha256', seed, Buffer.from(origin, 'utf8'), 'sigilwatch/access-token/v1', 32);
  return keyPairFromSeed(Buffer.from(derived));
}

export interface AccessTokenOptions {
  readonly keys: KeyPair;
  /** Of the ledger: tokens of another one are not taken. */
  readonly origin: string;
  readonly randomBytes: RandomBytes;
}

/** JSON Web Tokens (RFC 7519, 8037, 9068). Algorithm, type, issuer and audience are fixed here; what a token says of them is never asked. */
export function jwtAccessTokens({ keys, origin, randomBytes }: AccessTokenOptions): AccessTokens {
  return {
    issue: ({ user, role, session, expiresAtMs }, nowMs) =>
      new SignJWT({ role, sid: session })
        .setProtectedHeader({ alg: algorithm, typ: accessTokenType })
        .setIssuer(origin)
        .setAudience(accessTokenAudience)
        .setSubject(user)
        .setJti(randomBytes(16).toString('hex'))
        .setIssuedAt(seconds(nowMs))
        .setNotBefore(seconds(nowMs))
        .setExpirationTime(seconds(expiresAtMs))
        .sign(keys.privateKey),
    verify: async (token, nowMs) => {
      const { payload } = await jwtVerify(token, keys.publicKey, {
        algorithms: [algorithm],
        typ: accessTokenType,
        issuer: origin,
        audience: accessTokenAudience,
        requiredClaims: ['iat', 'nbf', 'exp', 'jti', 'sub'],
        clockTolerance: limits.tokenClockToleranceMs / 1000,
        currentDate: new Date(nowMs),
      }).catch((thrown: unknown) => {
        throw refused(thrown);
      });
      const told = claims.safeParse(payload);
      if (!told.success) throw refused(told.error);
      const { sub, role, sid, exp } = told.data;
      return { user: sub, role, session: sid, expiresAtMs: exp * 1000 };
    },
  };
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

/** One answer for everything that is wrong, but for the one thing that the holder can do something about. */
function refused(cause: unknown): AppError {
  const expired = cause instanceof errors.JWTExpired;
  return new AppError(
    'auth.token',
    expired ? 'this access token has expired: refresh it, or sign in again' : 'this access token is not valid',
    { cause, ...(expired && { details: { reason: 'expired' } }) },
  );
}
