import { rfc3339 } from '../../common/clock.ts';
import type { EnrolmentStore, JoinTokenUse, KnownNode } from '../fleet/enrolment.ts';
import type { Db } from './pool.ts';

/** Channel on which the names of nodes go whose key was revoked or replaced. */
export const revokedChannel = 'sigilwatch_revoked';

export function postgresEnrolment(db: Db): EnrolmentStore {
  return {
    insertToken: (token) => insertJoinToken(db, token),
    useToken: (use) => useJoinToken(db, use),
    node: (node) => readNode(db, node),
    nodeWithKey: (fingerprint) => readNodeWithKey(db, fingerprint),
    deleteTokens: (node) => deleteJoinTokens(db, node),
    announceRevoked: (node) => notifyRevoked(db, node),
  };
}

async function insertJoinToken(db: Db, token: Parameters<EnrolmentStore['insertToken']>[0]): Promise<void> {
  await db.query('insert into join_tokens (token_hash, node, created_at, expires_at) values ($1, $2, $3, $4)', [
    token.hash,
    token.node,
    rfc3339(token.createdAt),
    rfc3339(token.expiresAt),
  ]);
}

/** Checks and consumes in one statement: of two keys with one token, one gets the row and the other nothing. */
async function useJoinToken(db: Db, use: JoinTokenUse): Promise<{ usedAt: number } | undefined> {
  const { rows } = await db.query<{ used_at: Date }>(
    `update join_tokens set used_at = coalesce(used_at, $4::timestamptz), fingerprint = $3
      where token_hash = $1 and node = $2 and expires_at > $4::timestamptz
        and (fingerprint is null or fingerprint = $3)
     returning used_at`,
    [use.hash, use.node, use.fingerprint, rfc3339(use.now)],
  );
  const row = rows[0];
  return row === undefined ? undefined : { usedAt: row.used_at.getTime() };
}

async function deleteJoinTokens(db: Db, node: string): Promise<void> {
  await db.query('delete from join_tokens where node = $1', [node]);
}

interface NodeRow {
  readonly node: string;
  readonly fingerprint: string;
  readonly enrolled_at: Date;
  readonly revoked_at: Date | null;
}

async function readNode(db: Db, node: string): Promise<KnownNode | undefined> {
  const { rows } = await db.query<NodeRow>(
    'select node, fingerprint, enrolled_at, revoked_at from nodes where node = $1',
    [node],
  );
  return rows.map(toKnownNode)[0];
}

async function readNodeWithKey(db: Db, fingerprint: string): Promise<KnownNode | undefined> {
  const { rows } = await db.query<NodeRow>(
    'select node, fingerprint, enrolled_at, revoked_at from nodes where fingerprint = $1 order by node limit 1',
    [fingerprint],
  );
  return rows.map(toKnownNode)[0];
}

function toKnownNode(row: NodeRow): KnownNode {
  return {
    node: row.node,
    fingerprint: row.fingerprint,
    enrolledAt: row.enrolled_at.getTime(),
    revoked: row.revoked_at !== null,
  };
}

async function notifyRevoked(db: Db, node: string): Promise<void> {
  await db.query('select pg_notify($1, $2)', [revokedChannel, node]);
}
