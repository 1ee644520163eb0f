import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { countedAttempt } from './attempts.ts';
import { authEvent } from './audit.ts';
import type { Caller } from './caller.ts';
import { readPassword, readUserName } from './credentials.ts';
import type { AuthPorts, PageAfter, Rotation, Session, SessionEnd, Standing, User } from './ports.ts';
import { formatRefreshToken, newRefreshToken, parseRefreshToken, refreshTokenHashes } from './refresh-token.ts';

/** Where a request comes from. */
export interface Origin {
  /** Of the client; undefined on the collector's own machine. */
  readonly address?: string | undefined;
  readonly requestId?: string | undefined;
}

export interface SignInWish extends Origin {
  readonly name: string;
  readonly password: string;
}

/** What somebody is signed in with. Nobody can show the tokens again. */
export interface SignedIn {
  readonly session: Session;
  readonly role: User['role'];
  readonly accessToken: string;
  readonly accessExpiresAtMs: number;
  readonly refreshToken: string;
}

/**
 * Begins a session. A wrong name costs the same time as a wrong password and gets the same answer, as does a locked user.
 * @throws AppError `auth.credentials`; `rate_limit.exceeded` without a look at the password; `state.busy`.
 */
export async function signIn(ports: AuthPorts, { name, password, ...origin }: SignInWish): Promise<SignedIn> {
  const user = await provenUser(ports, { name, password, ...origin });
  if (user === undefined) throw wrongCredentials();
  const { ledger, clock } = ports;
  const [actor, id] = [`user:${user.name}`, ports.randomBytes(16).toString('hex')];
  const detail = `session ${id}${origin.address === undefined ? '' : ` from ${origin.address}`}`;
  await ledger.record(
    authEvent({ event: 'sign_in.succeeded', actor, subject: actor, detail, requestId: origin.requestId }),
  );
  const token = newRefreshToken(ports.randomBytes);
  const nowMs = clock.now();
  const expiresAtMs = nowMs + ports.times.sessionMs;
  const session: Session = {
    ...{ id, user: user.name, address: origin.address ?? null },
    ...{ createdAtMs: nowMs, refreshedAtMs: nowMs },
    ...{ expiresAtMs, idleAtMs: Math.min(expiresAtMs, nowMs + ports.times.idleMs) },
  };
  const row = { ...session, ...refreshTokenHashes(token), passwordChangedAtMs: user.passwordChangedAtMs };
  if (!(await ports.sessions.insert(row, limits.maxSessionsPerUser))) throw wrongCredentials();
  return signedIn(ports, { session, role: user.role, refreshToken: formatRefreshToken(token), nowMs });
}

function wrongCredentials(): AppError {
  return new AppError('auth.credentials', 'name or password is wrong');
}

/**
 * The user whose name and password these are, counted as an attempt. Undefined when they are nobody's, or nobody may sign in with them.
 * @throws AppError as {@link signIn}.
 */
export async function provenUser(ports: AuthPorts, wish: SignInWish): Promise<User | undefined> {
  const name = readUserName(wish.name);
  const user = name === undefined ? undefined : await ports.users.user(name);
  // A text that can be nobody's password is looked at like any other, so that it takes as long.
  const password = readPassword(wish.password) ?? '';
  const attempt = { name, isKnown: user !== undefined, address: wish.address, requestId: wish.requestId };
  const right = await countedAttempt(ports, attempt, async () => {
    const matches = await ports.hasher.verify(user?.passwordHash, password);
    return matches && user?.lockedAtMs === null;
  });
  return right ? user : undefined;
}

interface Begun {
  readonly session: Session;
  readonly role: User['role'];
  readonly refreshToken: string;
  readonly nowMs: number;
}

/** No access token outlives its session, also where `auth.idleMs` is the shorter one. */
async function signedIn({ accessTokens, times }: AuthPorts, begun: Begun): Promise<SignedIn> {
  const { session, role, nowMs, refreshToken } = begun;
  const accessExpiresAtMs = Math.min(nowMs + times.accessTokenMs, session.expiresAtMs, session.idleAtMs);
  const claims = { user: session.user, role, session: session.id, expiresAtMs: accessExpiresAtMs };
  const accessToken = await accessTokens.issue(claims, nowMs);
  return { session, role, accessToken, accessExpiresAtMs, refreshToken };
}

/**
 * A new access token and a new refresh token for one that was not used before. One that was, ends its session: whoever holds the
 * newer one may be a thief, or this one is.
 * @throws AppError `auth.token`.
 */
export async function refreshSession(ports: AuthPorts, text: string, origin: Origin = {}): Promise<SignedIn> {
  const token = parseRefreshToken(text);
  if (token === undefined) throw notGood();
  const next = newRefreshToken(ports.randomBytes, token.family);
  const nowMs = ports.clock.now();
  const rotation: Rotation = {
    ...refreshTokenHashes(token),
    nextHash: refreshTokenHashes(next).secretHash,
    ...{ nowMs, idleAtMs: nowMs + ports.times.idleMs },
  };
  const rotated = await ports.sessions.rotate(rotation);
  if (rotated === undefined) {
    await endReused(ports, rotation, origin);
    throw notGood();
  }
  return signedIn(ports, { session: rotated, role: rotated.role, refreshToken: formatRefreshToken(next), nowMs });
}

/** A session that stands, and whose newest token this is not. What has expired is ended too, which changes nothing. */
async function endReused(ports: AuthPorts, { familyHash, nowMs }: Rotation, origin: Origin): Promise<void> {
  const ended = await ports.sessions.endFamily(familyHash, { reason: 'refresh_reused', nowMs });
  if (ended === undefined) return;
  ports.onChange();
  if (Math.min(ended.expiresAtMs, ended.idleAtMs) <= nowMs) return;
  const actor = origin.address === undefined ? 'local' : `address:${origin.address}`;
  const detail = `session ${ended.id} of user:${ended.user} ended: one of its refresh tokens was used twice`;
  const fact = { event: 'session.refresh_reused', actor, subject: `user:${ended.user}`, detail } as const;
  await ports.ledger.record(authEvent({ ...fact, requestId: origin.requestId }));
}

function notGood(): AppError {
  return new AppError('auth.token', 'this refresh token is not valid (any more): sign in again');
}

/**
 * Ends one of the caller's own sessions, or the one of the request.
 * @throws AppError `resource.not_found` for one that is not theirs or not there; `auth.forbidden` for whoever has none.
 */
export async function signOut(
  ports: AuthPorts,
  caller: Caller,
  origin: Origin = {},
  id = caller.session,
): Promise<void> {
  if (caller.user === undefined || id === undefined) {
    throw new AppError('auth.forbidden', `${caller.actor} has not signed in, so there is no session to end`);
  }
  const end: SessionEnd = { reason: 'signed_out', nowMs: ports.clock.now() };
  const stood = await ports.sessions.end(id, caller.user, end);
  if (!stood) throw new AppError('resource.not_found', `there is no session ${id} of yours`);
  ports.onChange();
  const fact = { event: 'session.ended', actor: caller.actor, subject: caller.actor, detail: `session ${id}` } as const;
  await ports.ledger.record(authEvent({ ...fact, requestId: origin.requestId }));
}

/** Those of the caller that stand; nobody's for who has not signed in. */
export async function ownSessions(ports: AuthPorts, caller: Caller, page: PageAfter): Promise<readonly Session[]> {
  if (caller.user === undefined) return [];
  return ports.sessions.list(caller.user, ports.clock.now(), page);
}

/** Whose the session of an access token is, at this moment. @throws AppError `auth.token` when it does not stand. */
export async function sessionStanding(
  { sessions }: Pick<AuthPorts, 'sessions'>,
  id: string,
  nowMs: number,
): Promise<Standing> {
  const standing = await sessions.standing(id, nowMs);
  if (standing !== undefined) return standing;
  throw new AppError('auth.token', 'this session has ended: sign in again');
}
