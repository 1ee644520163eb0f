import { rfc3339 } from '../../common/clock.ts';
import type { PageAfter, SetupCode, User, UserDesk, UserRole, UserStore, UserWithPassword } from '../auth/ports.ts';
import { createTurns } from '../enforcement/turns.ts';
import { type Db, type Queryable, type Tx, withTransaction } from './pool.ts';
import { endSessionsOf } from './session-store.ts';

export function postgresUsers(db: Db): UserStore {
  const turns = createTurns();
  return {
    user: (name) => readUser(db, name),
    anyUser: () => anyUser(db),
    setupCodeIsGood: (codeHash, nowMs) => setupCodeIsGood(db, codeHash, nowMs),
    list: (page) => listUsers(db, page),
    exclusively: (work) =>
      turns(() =>
        withTransaction(db, async (tx) => {
          await lockUsers(tx);
          return work(deskOn(tx));
        }),
      ),
  };
}

function deskOn(tx: Tx): UserDesk {
  return {
    user: (name) => readUser(tx, name),
    anyUser: () => anyUser(tx),
    otherAdmins: (but) => countOtherAdmins(tx, but),
    insert: (user) => insertUser(tx, user),
    update: (user) => updateUser(tx, user),
    endSessions: (name, end) => endSessionsOf(tx, name, end),
    useSetupCode: (codeHash, nowMs) => useSetupCode(tx, codeHash, nowMs),
    replaceSetupCodes: async (code) => {
      await deleteSetupCodes(tx);
      await insertSetupCode(tx, code);
    },
    deleteSetupCodes: () => deleteSetupCodes(tx),
  };
}

/** Readers go on, and sessions begin; whoever else wants to change users waits. */
async function lockUsers(tx: Tx): Promise<void> {
  await tx.query('lock table users in share row exclusive mode');
}

interface UserRow {
  readonly name: string;
  readonly role: UserRole;
  readonly password_hash: string;
  readonly created_at: Date;
  readonly password_changed_at: Date;
  readonly locked_at: Date | null;
}

function toUser(row: Omit<UserRow, 'password_hash'>): User {
  return {
    name: row.name,
    role: row.role,
    createdAtMs: row.created_at.getTime(),
    passwordChangedAtMs: row.password_changed_at.getTime(),
    lockedAtMs: row.locked_at?.getTime() ?? null,
  };
}

async function readUser(db: Queryable, name: string): Promise<UserWithPassword | undefined> {
  const { rows } = await db.query<UserRow>(
    'select name, role, password_hash, created_at, password_changed_at, locked_at from users where name = $1',
    [name],
  );
  const [row] = rows;
  return row === undefined ? undefined : { ...toUser(row), passwordHash: row.password_hash };
}

async function anyUser(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ any: boolean }>('select exists (select from users) as any');
  return rows[0]?.any === true;
}

async function countOtherAdmins(db: Queryable, but: string): Promise<number> {
  const { rows } = await db.query<{ admins: number }>(
    `select count(*) as admins from users where role = 'admin' and locked_at is null and name <> $1`,
    [but],
  );
  return rows[0]?.admins ?? 0;
}

async function listUsers(db: Queryable, { after, limit }: PageAfter): Promise<readonly User[]> {
  const { rows } = await db.query<Omit<UserRow, 'password_hash'>>(
    `select name, role, created_at, password_changed_at, locked_at from users
      where name > $1 order by name limit $2`,
    [after ?? '', limit],
  );
  return rows.map(toUser);
}

async function insertUser(db: Queryable, user: UserWithPassword): Promise<void> {
  await db.query(
    `insert into users (name, role, password_hash, created_at, password_changed_at, locked_at)
     values ($1, $2, $3, $4, $5, $6)`,
    [user.name, user.role, user.passwordHash, rfc3339(user.createdAtMs), ...timesOf(user)],
  );
}

async function updateUser(db: Queryable, user: UserWithPassword): Promise<void> {
  await db.query(
    'update users set role = $2, password_hash = $3, password_changed_at = $4, locked_at = $5 where name = $1',
    [user.name, user.role, user.passwordHash, ...timesOf(user)],
  );
}

function timesOf({ passwordChangedAtMs, lockedAtMs }: User): readonly (string | null)[] {
  return [rfc3339(passwordChangedAtMs), lockedAtMs === null ? null : rfc3339(lockedAtMs)];
}

async function insertSetupCode(db: Queryable, { hash, createdAtMs, expiresAtMs }: SetupCode): Promise<void> {
  await db.query('insert into setup_codes (code_hash, created_at, expires_at) values ($1, $2, $3)', [
    hash,
    rfc3339(createdAtMs),
    rfc3339(expiresAtMs),
  ]);
}

async function setupCodeIsGood(db: Queryable, codeHash: Buffer, nowMs: number): Promise<boolean> {
  const { rowCount } = await db.query('select from setup_codes where code_hash = $1 and expires_at > $2', [
    codeHash,
    rfc3339(nowMs),
  ]);
  return rowCount === 1;
}

async function useSetupCode(db: Queryable, codeHash: Buffer, nowMs: number): Promise<boolean> {
  const { rowCount } = await db.query('delete from setup_codes where code_hash = $1 and expires_at > $2', [
    codeHash,
    rfc3339(nowMs),
  ]);
  return rowCount === 1;
}

async function deleteSetupCodes(db: Queryable): Promise<void> {
  await db.query('delete from setup_codes');
}
