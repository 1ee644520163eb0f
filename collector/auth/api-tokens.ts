import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { authEvent } from './audit.ts';
import type { Caller } from './caller.ts';
import { credentialHash } from './credentials.ts';
import { type Permission, permissionNames, permissionsOf } from './permissions.ts';
import type { ApiToken, AuthPorts, PageAfter, UsedToken } from './ports.ts';
import type { Origin } from './sessions.ts';
import { newToken } from './tokens.ts';

export interface NewApiToken {
  readonly name: string;
  readonly permissions: readonly Permission[];
  /** How long it is good for, in milliseconds. */
  readonly lastsMs?: number | undefined;
}

/** An API token as it is shown, once. */
export interface IssuedApiToken extends ApiToken {
  readonly secret: string;
}

/** What making tokens needs, on the collector's machine too. */
export type ApiTokenPorts = Pick<AuthPorts, 'apiTokens' | 'ledger' | 'clock' | 'randomBytes'>;

const nameForm = new RegExp(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,${limits.maxApiTokenNameChars - 2}}[A-Za-z0-9])?$`);

/**
 * Makes a token that acts for the caller, with some of the caller's permissions. People make tokens; tokens make none, or one that has
 * leaked would live on in others after it was revoked.
 * @throws AppError `validation.body`; `auth.forbidden` for what the caller may not do, and for tokens; `state.conflict` for a name in use.
 */
export async function createApiToken(
  ports: ApiTokenPorts,
  caller: Caller,
  wish: NewApiToken,
  origin: Origin = {},
): Promise<IssuedApiToken> {
  if (caller.token !== undefined || caller.role === 'anonymous') {
    throw new AppError('auth.forbidden', `${caller.actor} may not make API tokens: sign in for that`);
  }
  const { name, permissions, lastsMs } = requireAcceptable(wish);
  const missing = permissions.find((permission) => !caller.permissions.has(permission));
  if (missing !== undefined) {
    const message = `${caller.actor} (${caller.role}) may not pass on ${missing}: it is none of their own permissions`;
    throw new AppError('auth.forbidden', message, { details: { permission: missing } });
  }
  const secret = newToken('api', ports.randomBytes);
  const nowMs = ports.clock.now();
  const token: ApiToken = {
    ...{ id: ports.randomBytes(8).toString('hex'), owner: caller.user ?? null, name, permissions },
    ...{ createdAtMs: nowMs, expiresAtMs: nowMs + lastsMs, lastUsedAtMs: null, revokedAtMs: null },
  };
  const outcome = await ports.apiTokens.insert({ ...token, hash: credentialHash(secret) }, limits.maxApiTokensPerOwner);
  if (outcome !== 'inserted') throw inTheWay(outcome, name);
  // Nobody has the secret before this is on record: it is not shown otherwise.
  const detail = `${tokenActor(token)}, for ${Math.round(lastsMs / 3_600_000)} h: ${permissions.join(' ')}`;
  const fact = { event: 'api_token.created', actor: caller.actor, subject: `token ${token.id}`, detail } as const;
  const entry = authEvent({ ...fact, detail: detail.slice(0, limits.maxOwnTextChars), ...asked(origin) });
  await ports.ledger.record(entry).catch(async (thrown: unknown) => {
    await ports.apiTokens.revoke(token.id, nowMs);
    throw thrown;
  });
  return { ...token, secret };
}

/** As it goes on record when the token acts. */
export function tokenActor({ owner, name }: Pick<ApiToken, 'owner' | 'name'>): string {
  return owner === null ? `token:${name}` : `token:${owner}/${name}`;
}

function requireAcceptable({ name, permissions, lastsMs = limits.apiTokenMs }: NewApiToken): Required<NewApiToken> & {
  readonly lastsMs: number;
} {
  if (!nameForm.test(name)) {
    const expected = `1 to ${limits.maxApiTokenNameChars} letters, digits, dots, hyphens and underscores`;
    throw new AppError('validation.body', `name: expected ${expected}`, { details: { field: 'name' } });
  }
  if (permissions.length === 0) {
    const message = 'permissions: expected at least one; a token without any can do nothing';
    throw new AppError('validation.body', message, { details: { field: 'permissions' } });
  }
  if (!Number.isSafeInteger(lastsMs) || lastsMs < limits.minApiTokenMs || lastsMs > limits.maxApiTokenMs) {
    const message = `a token lasts from a minute to ${limits.maxApiTokenMs / 86_400_000} days`;
    throw new AppError('validation.body', message, { details: { field: 'lasts' } });
  }
  // In the order of the table, each once.
  return { name, permissions: permissionNames.filter((one) => permissions.includes(one)), lastsMs };
}

function inTheWay(outcome: 'name_taken' | 'too_many', name: string): AppError {
  if (outcome === 'name_taken') {
    return new AppError(
      'state.conflict',
      `there is an API token ${name} already: revoke it first, or take another name`,
    );
  }
  return new AppError(
    'state.conflict',
    `there are ${limits.maxApiTokensPerOwner} API tokens already: revoke one that is not needed`,
  );
}

/** The caller's own; everybody's for who may see them. */
export function listApiTokens(ports: ApiTokenPorts, caller: Caller, page: PageAfter): Promise<readonly ApiToken[]> {
  const owner = caller.permissions.has('tokens.manage') ? undefined : caller.user;
  if (owner === undefined && !caller.permissions.has('tokens.manage')) return Promise.resolve([]);
  return ports.apiTokens.list(owner, page);
}

/**
 * @throws AppError `resource.not_found` for a token that is not there, or that the caller may not know of; `state.conflict` for one
 *   that is revoked already.
 */
export async function revokeApiToken(
  ports: ApiTokenPorts & Pick<AuthPorts, 'onChange'>,
  caller: Caller,
  id: string,
  origin: Origin = {},
): Promise<void> {
  const token = await ports.apiTokens.token(id);
  const own = token !== undefined && token.owner !== null && token.owner === caller.user;
  if (token === undefined || !(own || caller.permissions.has('tokens.manage'))) {
    throw new AppError('resource.not_found', `there is no API token ${id.slice(0, 100)} of yours`);
  }
  if (!(await ports.apiTokens.revoke(id, ports.clock.now()))) {
    throw new AppError('state.conflict', `the API token ${token.name} is revoked already`);
  }
  ports.onChange();
  const fact = { event: 'api_token.revoked', actor: caller.actor, subject: `token ${id}` } as const;
  await ports.ledger.record(authEvent({ ...fact, detail: tokenActor(token), ...asked(origin) }));
}

/** Who acts with a token: what it was made for, as far as its owner may do that now. */
export function tokenCaller({ id, owner, name, permissions, ownerRole }: UsedToken): Caller {
  // Made on the collector's machine, by somebody who can do everything anyway.
  const role = owner === null ? 'admin' : (ownerRole ?? 'anonymous');
  const allowed = permissionsOf(role);
  return {
    actor: tokenActor({ owner, name }),
    role,
    // Every token tells its holder what it is.
    permissions: new Set((['self.read', ...permissions] as const).filter((permission) => allowed.has(permission))),
    ...(owner !== null && { user: owner }),
    token: id,
  };
}

function asked({ requestId }: Origin) {
  return { requestId };
}
