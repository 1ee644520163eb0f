import { rfc3339 } from '../../common/clock.ts';
import type {
  NewSession,
  PageAfter,
  Rotation,
  Session,
  SessionEnd,
  SessionStore,
  Standing,
  UserRole,
} from '../auth/ports.ts';
import { type Db, type Queryable, withTransaction } from './pool.ts';

export function postgresSessions(db: Db): SessionStore {
  return {
    insert: (session, keep) =>
      withTransaction(db, async (tx) => {
        if (!(await insertSession(tx, session))) return false;
        await endSurplus(tx, session, keep);
        return true;
      }),
    rotate: (rotation) => rotateSession(db, rotation),
    endFamily: (familyHash, end) => endFamily(db, familyHash, end),
    end: (id, user, end) => endSession(db, id, user, end),
    standing: (id, nowMs) => readStanding(db, id, nowMs),
    list: (user, nowMs, page) => listSessions(db, user, nowMs, page),
    tidy: (beforeMs) => deleteSessions(db, beforeMs),
  };
}

const columns = 's.id, s.user_name, s.address, s.created_at, s.refreshed_at, s.expires_at, s.idle_at';

interface SessionRow {
  readonly id: string;
  readonly user_name: string;
  readonly address: string | null;
  readonly created_at: Date;
  readonly refreshed_at: Date;
  readonly expires_at: Date;
  readonly idle_at: Date;
}

function toSession(row: SessionRow): Session {
  return {
    id: row.id,
    user: row.user_name,
    address: row.address,
    createdAtMs: row.created_at.getTime(),
    refreshedAtMs: row.refreshed_at.getTime(),
    expiresAtMs: row.expires_at.getTime(),
    idleAtMs: row.idle_at.getTime(),
  };
}

/** The user's row is held meanwhile: a change of the user either sees the session and ends it, or is seen here. */
async function insertSession(db: Queryable, session: NewSession): Promise<boolean> {
  const { rowCount } = await db.query(
    `insert into sessions (id, user_name, family_hash, secret_hash, address, created_at, refreshed_at, expires_at, idle_at)
     select $1, name, $3, $4, $5, $6, $7, $8, $9 from users
      where name = $2 and locked_at is null and password_changed_at = $10 for share`,
    [
      ...[session.id, session.user, session.familyHash, session.secretHash, session.address],
      ...[session.createdAtMs, session.refreshedAtMs, session.expiresAtMs, session.idleAtMs].map(rfc3339),
      rfc3339(session.passwordChangedAtMs),
    ],
  );
  return rowCount === 1;
}

async function endSurplus(db: Queryable, { user, createdAtMs }: Session, keep: number): Promise<void> {
  await db.query(
    `update sessions set ended_at = $2, ended_reason = 'too_many'
      where ended_at is null and id in (
        select id from sessions where user_name = $1 and ended_at is null order by refreshed_at desc, id offset $3)`,
    [user, rfc3339(createdAtMs), keep],
  );
}

async function rotateSession(db: Queryable, rotation: Rotation): Promise<(Session & Standing) | undefined> {
  const { familyHash, secretHash, nextHash, nowMs, idleAtMs } = rotation;
  const { rows } = await db.query<SessionRow & { role: UserRole }>(
    `update sessions s set secret_hash = $3, refreshed_at = $4, idle_at = least($5, s.expires_at)
       from users u
      where s.family_hash = $1 and s.secret_hash = $2 and s.ended_at is null and s.expires_at > $4 and s.idle_at > $4
        and u.name = s.user_name and u.locked_at is null
     returning ${columns}, u.role`,
    [familyHash, secretHash, nextHash, rfc3339(nowMs), rfc3339(idleAtMs)],
  );
  const [row] = rows;
  return row === undefined ? undefined : { ...toSession(row), role: row.role };
}

async function endFamily(db: Queryable, familyHash: Buffer, end: SessionEnd): Promise<Session | undefined> {
  const { rows } = await db.query<SessionRow>(
    `update sessions s set ended_at = $2, ended_reason = $3 where s.family_hash = $1 and s.ended_at is null
     returning ${columns}`,
    [familyHash, rfc3339(end.nowMs), end.reason],
  );
  return rows.map(toSession)[0];
}

async function endSession(db: Queryable, id: string, user: string, { nowMs, reason }: SessionEnd): Promise<boolean> {
  const { rowCount } = await db.query(
    `update sessions set ended_at = $3, ended_reason = $4 where id = $1 and user_name = $2 and ended_at is null`,
    [id, user, rfc3339(nowMs), reason],
  );
  return rowCount === 1;
}

/** @returns how many stood. */
export async function endSessionsOf(db: Queryable, user: string, { nowMs, reason }: SessionEnd): Promise<number> {
  const { rowCount } = await db.query(
    'update sessions set ended_at = $2, ended_reason = $3 where user_name = $1 and ended_at is null',
    [user, rfc3339(nowMs), reason],
  );
  return rowCount ?? 0;
}

async function readStanding(db: Queryable, id: string, nowMs: number): Promise<Standing | undefined> {
  const { rows } = await db.query<{ user: string; role: UserRole }>(
    `select u.name as user, u.role from sessions s join users u on u.name = s.user_name
      where s.id = $1 and s.ended_at is null and s.expires_at > $2 and u.locked_at is null`,
    [id, rfc3339(nowMs)],
  );
  return rows[0];
}

async function listSessions(
  db: Queryable,
  user: string,
  nowMs: number,
  { after, limit }: PageAfter,
): Promise<readonly Session[]> {
  const { rows } = await db.query<SessionRow>(
    `select ${columns} from sessions s
      where s.user_name = $1 and s.ended_at is null and s.expires_at > $2 and s.idle_at > $2 and s.id > $3
      order by s.id limit $4`,
    [user, rfc3339(nowMs), after ?? '', limit],
  );
  return rows.map(toSession);
}

async function deleteSessions(db: Queryable, beforeMs: number): Promise<void> {
  await db.query('delete from sessions where least(ended_at, expires_at, idle_at) < $1', [rfc3339(beforeMs)]);
}
