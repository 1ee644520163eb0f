import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { tokenCaller } from './api-tokens.ts';
import { anonymous, type Caller } from './caller.ts';
import { credentialHash } from './credentials.ts';
import { permissionsOf } from './permissions.ts';
import type { AuthPorts } from './ports.ts';
import { sessionStanding } from './sessions.ts';
import { tokenPrefixes } from './tokens.ts';

/** Says who sends an `Authorization` header. Without one it is nobody. @throws AppError `auth.token` for one that is not good. */
export interface Authenticator {
  authenticate(authorization: string | undefined): Promise<Caller>;
  /** Believes nothing any more that was found before: something has changed. */
  forget(): void;
}

type Ports = Pick<AuthPorts, 'sessions' | 'apiTokens' | 'accessTokens' | 'clock'>;

interface Proven {
  readonly caller: Caller;
  /** Of the credential itself. */
  readonly expiresAtMs: number;
}

interface Believed {
  readonly sinceMs: number;
  readonly proven: Promise<Proven>;
}

/**
 * What a credential proves is believed for `limits.standingBelievedMs`, by its hash: so long a session that another collector ended, or a
 * role that was changed there, goes on counting here. A storm of requests with one token asks the database once.
 */
export function createAuthenticator(ports: Ports): Authenticator {
  let believed = new Map<string, Believed>();

  function prove(credential: string): Promise<Proven> {
    const key = credentialHash(credential).toString('base64');
    const nowMs = ports.clock.monotonicMs();
    const known = believed.get(key);
    if (known !== undefined && nowMs - known.sinceMs < limits.standingBelievedMs) return known.proven;
    believed.delete(key);
    // In order of age: the oldest one goes.
    const [oldest] = believed.size >= limits.maxStandingBelieved ? believed.keys() : [];
    if (oldest !== undefined) believed.delete(oldest);
    const proven = look(ports, credential);
    const mine = { sinceMs: nowMs, proven };
    const kept = believed;
    kept.set(key, mine);
    // What is refused is looked at again the next time.
    proven.catch(() => {
      if (kept.get(key) === mine) kept.delete(key);
    });
    return proven;
  }

  return {
    authenticate: async (authorization) => {
      if (authorization === undefined) return anonymous;
      const { caller, expiresAtMs } = await prove(bearer(authorization));
      if (expiresAtMs + limits.tokenClockToleranceMs > ports.clock.now()) return caller;
      throw new AppError('auth.token', 'this token has expired');
    },
    forget: () => {
      believed = new Map();
    },
  };
}

function bearer(authorization: string): string {
  const [, token] = /^Bearer +(\S+) *$/i.exec(authorization.slice(0, limits.maxCredentialChars + 1)) ?? [];
  if (token !== undefined && authorization.length <= limits.maxCredentialChars) return token;
  throw new AppError('auth.token', 'the Authorization header is not of the form "Bearer TOKEN"');
}

function look(ports: Ports, credential: string): Promise<Proven> {
  return credential.startsWith(tokenPrefixes.api)
    ? lookAtApiToken(ports, credential)
    : lookAtSession(ports, credential);
}

async function lookAtSession({ accessTokens, sessions, clock }: Ports, credential: string): Promise<Proven> {
  const nowMs = clock.now();
  const claims = await accessTokens.verify(credential, nowMs);
  const { user, role } = await sessionStanding({ sessions }, claims.session, nowMs);
  // Of one session only by forgery of the key; held against each other all the same.
  if (user !== claims.user) throw new AppError('auth.token', 'this access token is not valid');
  const caller = { actor: `user:${user}`, role, permissions: permissionsOf(role), user, session: claims.session };
  return { caller, expiresAtMs: claims.expiresAtMs };
}

async function lookAtApiToken({ apiTokens, clock }: Ports, credential: string): Promise<Proven> {
  const nowMs = clock.now();
  const at = { nowMs, noteAfterMs: nowMs - limits.apiTokenUseNotedMs };
  const token = await apiTokens.use(credentialHash(credential), at);
  if (token !== undefined) return { caller: tokenCaller(token), expiresAtMs: token.expiresAtMs };
  throw new AppError('auth.token', 'this API token is not valid: unknown, expired or revoked, or its owner is locked');
}
