import type { Clock } from '../../common/clock.ts';
import type { Statement } from '../../common/kinds.ts';
import type { Permission, Role } from './permissions.ts';
import type { RandomBytes } from './tokens.ts';

/** Times are Unix milliseconds everywhere here. */
export interface User {
  /** Lower case; see `userName`. */
  readonly name: string;
  readonly role: UserRole;
  readonly createdAtMs: number;
  readonly passwordChangedAtMs: number;
  /** Since when an administrator lets nobody in under this name; null for who may sign in. */
  readonly lockedAtMs: number | null;
}

/** Nobody is made to be nobody. */
export type UserRole = Exclude<Role, 'anonymous'>;

export interface UserWithPassword extends User {
  /** As the {@link PasswordHasher} made it. */
  readonly passwordHash: string;
}

/** Changes of users, in one transaction and with nobody else changing any. */
export interface UserDesk {
  user(name: string): Promise<UserWithPassword | undefined>;
  anyUser(): Promise<boolean>;
  /** Other than `but`, not locked. */
  otherAdmins(but: string): Promise<number>;
  insert(user: UserWithPassword): Promise<void>;
  update(user: UserWithPassword): Promise<void>;
  /** Ends all sessions of a user. @returns how many stood. */
  endSessions(name: string, end: SessionEnd): Promise<number>;
  /** Takes the code away if it is good at `nowMs`. @returns whether it was. */
  useSetupCode(codeHash: Buffer, nowMs: number): Promise<boolean>;
  /** Ends all codes but this one. */
  replaceSetupCodes(code: SetupCode): Promise<void>;
  deleteSetupCodes(): Promise<void>;
}

export interface SetupCode {
  readonly hash: Buffer;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

/** Where users are kept. Durable, and shared by all collectors of a database. */
export interface UserStore {
  user(name: string): Promise<UserWithPassword | undefined>;
  anyUser(): Promise<boolean>;
  setupCodeIsGood(codeHash: Buffer, nowMs: number): Promise<boolean>;
  /** By name, after that of `after`. */
  list(page: PageAfter): Promise<readonly User[]>;
  /**
   * One transaction, one caller at a time in all collectors: all of it happens, or nothing. Whoever waits within one
   * collector holds no connection, so that `work` may put something on record meanwhile.
   */
  exclusively<T>(work: (desk: UserDesk) => Promise<T>): Promise<T>;
}

export interface PageAfter {
  /** Key of the last one that was seen. */
  readonly after: string | undefined;
  readonly limit: number;
}

export interface Session {
  readonly id: string;
  readonly user: string;
  /** From which it was begun, as far as that is known. */
  readonly address: string | null;
  readonly createdAtMs: number;
  readonly refreshedAtMs: number;
  readonly expiresAtMs: number;
  readonly idleAtMs: number;
}

export interface NewSession extends Session {
  /** Of the user whose password was proven. */
  readonly passwordChangedAtMs: number;
  readonly familyHash: Buffer;
  readonly secretHash: Buffer;
}

export interface SessionEnd {
  readonly reason: 'signed_out' | 'refresh_reused' | 'password_changed' | 'user_locked' | 'too_many';
  readonly nowMs: number;
}

/** Of a refresh token: what stays, what it is good for now, and what takes its place. */
export interface Rotation {
  readonly familyHash: Buffer;
  readonly secretHash: Buffer;
  readonly nextHash: Buffer;
  readonly nowMs: number;
  readonly idleAtMs: number;
}

/** What stands behind a session or an API token at this moment. */
export interface Standing {
  readonly user: string;
  readonly role: UserRole;
}

/** Where sessions are kept; durable, and shared. */
export interface SessionStore {
  /**
   * Ends those of this user that were refreshed longest ago while there are more than `keep`.
   * @returns false, and inserts nothing, when the user was locked or got another password since it was proven.
   */
  insert(session: NewSession, keep: number): Promise<boolean>;
  /**
   * Compare and swap in one statement: of two with one token, one gets the session and the other undefined. Nobody does once the
   * session is over or the user is locked.
   */
  rotate(rotation: Rotation): Promise<(Session & Standing) | undefined>;
  /** Ends the session of a family, whatever the other half is. @returns it, to the one caller who ended it. */
  endFamily(familyHash: Buffer, end: SessionEnd): Promise<Session | undefined>;
  /** @returns whether it stood until now, and is this user's. */
  end(id: string, user: string, end: SessionEnd): Promise<boolean>;
  /** Whose it is and as what, if it stands and the user is not locked. */
  standing(id: string, nowMs: number): Promise<Standing | undefined>;
  /** Those that stand, of one user. */
  list(user: string, nowMs: number, page: PageAfter): Promise<readonly Session[]>;
  /** Deletes what ended or expired before. */
  tidy(beforeMs: number): Promise<void>;
}

export interface ApiToken {
  readonly id: string;
  /** Null for those made on the collector's own machine. */
  readonly owner: string | null;
  readonly name: string;
  readonly permissions: readonly Permission[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly lastUsedAtMs: number | null;
  readonly revokedAtMs: number | null;
}

export interface UsedToken extends ApiToken {
  /** Of the owner, now; null where there is none. */
  readonly ownerRole: UserRole | null;
}

/** Where API tokens are kept; durable, and shared. */
export interface ApiTokenStore {
  /**
   * Exact when several are made at once. An expired one of the same name makes room.
   * @returns what stands in the way: one of that name, or as many as there may be.
   */
  insert(token: ApiToken & { readonly hash: Buffer }, max: number): Promise<'inserted' | 'name_taken' | 'too_many'>;
  /** If it stands, and its owner is not locked. Notes that it is used unless that is known from after `noteAfterMs`. */
  use(hash: Buffer, at: { readonly nowMs: number; readonly noteAfterMs: number }): Promise<UsedToken | undefined>;
  token(id: string): Promise<ApiToken | undefined>;
  /** @returns whether it stood. */
  revoke(id: string, nowMs: number): Promise<boolean>;
  /** Of one owner, or everybody's; those that are over too, as long as they are kept. */
  list(owner: string | undefined, page: PageAfter): Promise<readonly ApiToken[]>;
  tidy(beforeMs: number): Promise<void>;
}

/** What attempts are counted by, with how many may fail within a window. */
export interface Counted {
  /** SHA-256 of a name or an address. */
  readonly subject: Buffer;
  readonly max: number;
}

/** A right to look at one password. */
export interface Reservation {
  readonly granted: boolean;
  /** Of the window it was made in: it is given back, or fails, in this one only. */
  readonly beganAtMs: number;
  readonly retryAfterMs: number;
}

/** Exact under any number of parallel callers in all collectors: what is counted is counted by the database, before anything is tried. */
export interface AttemptStore {
  /**
   * Takes one of what is left of the window, of each in this order, and of the next only if it was granted.
   * @returns one for each that was asked.
   */
  reserve(counted: readonly Counted[]): Promise<readonly Reservation[]>;
  /** The password was right, or nobody looked: as if it had not been reserved. */
  giveBack(subject: Buffer, beganAtMs: number): Promise<void>;
  /** The password was wrong. @returns how many were in the window, with this one. */
  failed(subject: Buffer, beganAtMs: number): Promise<number>;
  /** Deletes windows that are over. */
  tidy(): Promise<void>;
}

/** Costs what guessing is to cost. */
export interface PasswordHasher {
  /** @throws AppError `state.busy` when too many wait. */
  hash(password: string): Promise<string>;
  /** False, after the same time, where there is no hash. @throws AppError `state.busy` when too many wait. */
  verify(hash: string | undefined, password: string): Promise<boolean>;
}

/** The collector's voice in the ledger. */
export interface AuthRecorder {
  record(statement: Statement): Promise<unknown>;
}

export interface AuthStores {
  readonly users: UserStore;
  readonly sessions: SessionStore;
  readonly apiTokens: ApiTokenStore;
  readonly attempts: AttemptStore;
}

export interface AuthPorts extends AuthStores {
  readonly ledger: AuthRecorder;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly hasher: PasswordHasher;
  readonly accessTokens: AccessTokens;
  readonly times: SessionTimes;
  /** Sees to what nobody waits for, so that an answer's time does not tell what went on record. Logs what fails. */
  readonly aside: (work: () => Promise<unknown>) => void;
  /** Called when something that was believed to stand may not stand any more. */
  readonly onChange: () => void;
}

export interface SessionTimes {
  readonly accessTokenMs: number;
  readonly sessionMs: number;
  readonly idleMs: number;
}

/** What an access token says. The role is what it was; what counts is what it is. */
export interface AccessClaims {
  readonly user: string;
  readonly role: UserRole;
  readonly session: string;
  readonly expiresAtMs: number;
}

export interface AccessTokens {
  issue(claims: AccessClaims, nowMs: number): Promise<string>;
  /** @throws AppError `auth.token` for anything that is not one of ours and in force. */
  verify(token: string, nowMs: number): Promise<AccessClaims>;
}
