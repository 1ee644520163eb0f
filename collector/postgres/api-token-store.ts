import { rfc3339 } from '../../common/clock.ts';
import { type Permission, permissionNames } from '../auth/permissions.ts';
import type { ApiToken, ApiTokenStore, PageAfter, UsedToken, UserRole } from '../auth/ports.ts';
import { type Db, type Queryable, type Tx, withTransaction } from './pool.ts';

export function postgresApiTokens(db: Db): ApiTokenStore {
  return {
    insert: (token, max) =>
      withTransaction(db, async (tx) => {
        await lockOwner(tx, token.owner);
        await revokeExpired(tx, token);
        const standing = await standingNames(tx, token);
        if (standing.includes(token.name)) return 'name_taken';
        if (standing.length >= max) return 'too_many';
        await insertToken(tx, token);
        return 'inserted';
      }),
    use: async (hash, { nowMs, noteAfterMs }) => {
      const token = await readStandingToken(db, hash, nowMs);
      if (token === undefined) return undefined;
      if ((token.lastUsedAtMs ?? 0) <= noteAfterMs) await noteUse(db, token.id, { nowMs, noteAfterMs });
      return token;
    },
    token: (id) => readToken(db, id),
    revoke: (id, nowMs) => revokeToken(db, id, nowMs),
    list: (owner, page) => listTokens(db, owner, page),
    tidy: (beforeMs) => deleteTokens(db, beforeMs),
  };
}

interface TokenRow {
  readonly id: string;
  readonly owner: string | null;
  readonly name: string;
  readonly permissions: readonly string[];
  readonly created_at: Date;
  readonly expires_at: Date;
  readonly last_used_at: Date | null;
  readonly revoked_at: Date | null;
}

const columns = `t.id, t.owner, t.name, t.permissions, t.created_at, t.expires_at, t.last_used_at, t.revoked_at`;

function toToken(row: TokenRow): ApiToken {
  return {
    id: row.id,
    owner: row.owner,
    name: row.name,
    permissions: row.permissions.filter(isPermission),
    createdAtMs: row.created_at.getTime(),
    expiresAtMs: row.expires_at.getTime(),
    lastUsedAtMs: row.last_used_at?.getTime() ?? null,
    revokedAtMs: row.revoked_at?.getTime() ?? null,
  };
}

/** One that a later version knew, or an earlier one, allows nothing. */
function isPermission(text: string): text is Permission {
  return permissionNames.some((name) => name === text);
}

const tokensLock = 7_600_015;

/** Of the tokens of one owner, one is made at a time. */
async function lockOwner(tx: Tx, owner: string | null): Promise<void> {
  await tx.query('select pg_advisory_xact_lock($1, hashtext($2))', [tokensLock, owner ?? '']);
}

/** Past its time a name is free again; the unique index cannot know the time. */
async function revokeExpired(tx: Tx, { owner, name, createdAtMs }: ApiToken): Promise<void> {
  await tx.query(
    `update api_tokens set revoked_at = expires_at
      where coalesce(owner, '') = $1 and name = $2 and revoked_at is null and expires_at <= $3`,
    [owner ?? '', name, rfc3339(createdAtMs)],
  );
}

async function standingNames(tx: Tx, { owner, createdAtMs }: ApiToken): Promise<readonly string[]> {
  const { rows } = await tx.query<{ name: string }>(
    `select name from api_tokens where coalesce(owner, '') = $1 and revoked_at is null and expires_at > $2`,
    [owner ?? '', rfc3339(createdAtMs)],
  );
  return rows.map(({ name }) => name);
}

async function insertToken(tx: Tx, token: ApiToken & { readonly hash: Buffer }): Promise<void> {
  await tx.query(
    `insert into api_tokens (id, token_hash, owner, name, permissions, created_at, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [
      ...[token.id, token.hash, token.owner, token.name, token.permissions],
      ...[token.createdAtMs, token.expiresAtMs].map(rfc3339),
    ],
  );
}

async function readStandingToken(db: Queryable, hash: Buffer, nowMs: number): Promise<UsedToken | undefined> {
  const { rows } = await db.query<TokenRow & { role: UserRole | null }>(
    `select ${columns}, u.role from api_tokens t left join users u on u.name = t.owner
      where t.token_hash = $1 and t.revoked_at is null and t.expires_at > $2 and u.locked_at is null`,
    [hash, rfc3339(nowMs)],
  );
  const [row] = rows;
  return row === undefined ? undefined : { ...toToken(row), ownerRole: row.role };
}

/** Of several that use it at once, one writes. */
async function noteUse(db: Queryable, id: string, at: { nowMs: number; noteAfterMs: number }): Promise<void> {
  await db.query(
    `update api_tokens set last_used_at = $2
      where id = $1 and (last_used_at is null or last_used_at <= $3)`,
    [id, rfc3339(at.nowMs), rfc3339(at.noteAfterMs)],
  );
}

async function readToken(db: Queryable, id: string): Promise<ApiToken | undefined> {
  const { rows } = await db.query<TokenRow>(`select ${columns} from api_tokens t where t.id = $1`, [id]);
  return rows.map(toToken)[0];
}

async function revokeToken(db: Queryable, id: string, nowMs: number): Promise<boolean> {
  const { rowCount } = await db.query('update api_tokens set revoked_at = $2 where id = $1 and revoked_at is null', [
    id,
    rfc3339(nowMs),
  ]);
  return rowCount === 1;
}

async function listTokens(
  db: Queryable,
  owner: string | undefined,
  { after, limit }: PageAfter,
): Promise<readonly ApiToken[]> {
  const [whose, values] = owner === undefined ? ['', []] : ['and t.owner = $3', [owner]];
  const { rows } = await db.query<TokenRow>(
    `select ${columns} from api_tokens t where t.id > $1 ${whose} order by t.id limit $2`,
    [after ?? '', limit, ...values],
  );
  return rows.map(toToken);
}

async function deleteTokens(db: Queryable, beforeMs: number): Promise<void> {
  await db.query('delete from api_tokens where least(revoked_at, expires_at) < $1', [rfc3339(beforeMs)]);
}
