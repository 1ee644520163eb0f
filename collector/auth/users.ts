import { AppError } from '../../common/errors.ts';
import { authEvent } from './audit.ts';
import type { Caller } from './caller.ts';
import { requirePassword, requireUserName } from './credentials.ts';
import type { AuthPorts, PageAfter, SessionEnd, User, UserDesk, UserRole, UserWithPassword } from './ports.ts';
import { type Origin, provenUser } from './sessions.ts';

export interface NewUser {
  readonly name: string;
  readonly role: UserRole;
  readonly password: string;
}

/** What is not given stays. */
export interface UserChange {
  readonly role?: UserRole | undefined;
  readonly locked?: boolean | undefined;
  /** Set by an administrator for somebody who has forgotten theirs. */
  readonly password?: string | undefined;
}

export function listUsers({ users }: AuthPorts, page: PageAfter): Promise<readonly User[]> {
  return users.list(page);
}

/** @throws AppError `resource.not_found`. */
export async function showUser({ users }: AuthPorts, name: string): Promise<User> {
  return withoutPassword(await found(users, name));
}

/** @throws AppError `validation.body`; `state.conflict` for a name that somebody has. */
export async function createUser(ports: AuthPorts, caller: Caller, wish: NewUser, origin: Origin = {}): Promise<User> {
  const name = requireUserName(wish.name);
  const passwordHash = await ports.hasher.hash(requirePassword(wish.password));
  return ports.users.exclusively(async (desk) => {
    if ((await desk.user(name)) !== undefined) throw new AppError('state.conflict', `there is a user ${name} already`);
    const user = newUser({ name, role: wish.role, passwordHash, nowMs: ports.clock.now() });
    await desk.insert(user);
    const detail = `as ${user.role}`;
    // Last, so that what is refused is not on record. What is committed is: a crash here leaves an entry of something that was not done.
    await ports.ledger.record(
      authEvent({ event: 'user.created', actor: caller.actor, subject: `user:${name}`, detail, ...asked(origin) }),
    );
    return withoutPassword(user);
  });
}

export function newUser({ nowMs, ...user }: NewUserRow): UserWithPassword {
  return { ...user, createdAtMs: nowMs, passwordChangedAtMs: nowMs, lockedAtMs: null };
}

interface NewUserRow extends Pick<UserWithPassword, 'name' | 'role' | 'passwordHash'> {
  readonly nowMs: number;
}

/**
 * Changes role, lock or password of a user. A lock and a new password end their sessions; a role counts from the next request on.
 * @throws AppError `resource.not_found`; `validation.body`; `state.conflict` when nobody would be left to manage users.
 */
export async function changeUser(
  ports: AuthPorts,
  caller: Caller,
  wish: UserChange & { readonly name: string },
  origin: Origin = {},
): Promise<User> {
  const passwordHash =
    wish.password === undefined ? undefined : await ports.hasher.hash(requirePassword(wish.password));
  const changed = await ports.users.exclusively(async (desk) => {
    const before = await found(desk, wish.name);
    const nowMs = ports.clock.now();
    const after = applyChange(before, { ...wish, passwordHash, nowMs });
    const what = differences(before, after);
    if (what.length === 0) return withoutPassword(before);
    if (isActiveAdmin(before) && !isActiveAdmin(after) && (await desk.otherAdmins(before.name)) === 0) {
      throw new AppError(
        'state.conflict',
        `${before.name} is the last administrator who can sign in; make another first`,
      );
    }
    await desk.update(after);
    const end = endOfSessions(before, after, nowMs);
    if (end !== undefined) await desk.endSessions(after.name, end);
    const fact = { event: 'user.changed', actor: caller.actor, subject: `user:${after.name}` } as const;
    await ports.ledger.record(authEvent({ ...fact, detail: what.join(', '), ...asked(origin) }));
    return withoutPassword(after);
  });
  ports.onChange();
  return changed;
}

interface Applied extends UserChange {
  readonly passwordHash: string | undefined;
  readonly nowMs: number;
}

function applyChange(user: UserWithPassword, { role, locked, passwordHash, nowMs }: Applied): UserWithPassword {
  const lockedAtMs = locked === undefined ? user.lockedAtMs : locked ? (user.lockedAtMs ?? nowMs) : null;
  const password = passwordHash === undefined ? {} : { passwordHash, passwordChangedAtMs: nowMs };
  return { ...user, ...password, role: role ?? user.role, lockedAtMs };
}

function differences(before: UserWithPassword, after: UserWithPassword): readonly string[] {
  const said: string[] = [];
  if (before.role !== after.role) said.push(`role ${before.role} -> ${after.role}`);
  if (before.lockedAtMs !== after.lockedAtMs) said.push(after.lockedAtMs === null ? 'unlocked' : 'locked');
  if (before.passwordHash !== after.passwordHash) said.push('new password');
  return said;
}

function endOfSessions(before: UserWithPassword, after: UserWithPassword, nowMs: number): SessionEnd | undefined {
  if (before.lockedAtMs === null && after.lockedAtMs !== null) return { reason: 'user_locked', nowMs };
  return before.passwordHash === after.passwordHash ? undefined : { reason: 'password_changed', nowMs };
}

function isActiveAdmin({ role, lockedAtMs }: User): boolean {
  return role === 'admin' && lockedAtMs === null;
}

export interface PasswordChange extends Origin {
  readonly current: string;
  readonly next: string;
}

/**
 * Changes the caller's own password and ends all their sessions, this one too. Whoever has only stolen a session cannot guess at the
 * password here either: it is counted as a sign-in.
 * @throws AppError `auth.forbidden` for who has not signed in; `auth.credentials`; `rate_limit.exceeded`; `validation.body`.
 */
export async function changePassword(
  ports: AuthPorts,
  caller: Caller,
  { current, next, ...origin }: PasswordChange,
): Promise<void> {
  if (caller.user === undefined || caller.session === undefined) {
    throw new AppError('auth.forbidden', `${caller.actor} has not signed in, so has no password to change`);
  }
  const wanted = requirePassword(next, 'new_password');
  const proven = await provenUser(ports, { name: caller.user, password: current, ...origin });
  if (proven === undefined) throw new AppError('auth.credentials', 'the current password is wrong');
  const passwordHash = await ports.hasher.hash(wanted);
  await ports.users.exclusively(async (desk) => {
    const user = await found(desk, proven.name);
    // Since the password was proven, somebody else may have set another.
    if (user.passwordChangedAtMs !== proven.passwordChangedAtMs || user.lockedAtMs !== null) {
      throw new AppError('state.conflict', 'the user has been changed in the meantime: sign in again');
    }
    const nowMs = ports.clock.now();
    await desk.update({ ...user, passwordHash, passwordChangedAtMs: nowMs });
    await desk.endSessions(user.name, { reason: 'password_changed', nowMs });
    const fact = { event: 'password.changed', actor: caller.actor, subject: caller.actor } as const;
    await ports.ledger.record(authEvent({ ...fact, detail: 'all sessions ended', ...asked(origin) }));
  });
  ports.onChange();
}

async function found(users: Pick<UserDesk, 'user'>, name: string): Promise<UserWithPassword> {
  const user = await users.user(name.toLowerCase());
  if (user !== undefined) return user;
  throw new AppError('resource.not_found', `there is no user ${name.slice(0, 100)}`);
}

export function withoutPassword({ name, role, createdAtMs, passwordChangedAtMs, lockedAtMs }: User): User {
  return { name, role, createdAtMs, passwordChangedAtMs, lockedAtMs };
}

function asked({ requestId }: Origin) {
  return { requestId };
}
