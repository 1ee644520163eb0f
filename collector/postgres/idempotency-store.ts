import { limits } from '../../common/limits.ts';
import type { Claim, IdempotencyStore, KeptAnswer, KeyName } from '../http/idempotency.ts';
import type { Db, Queryable } from './pool.ts';

/** Keys of writes and what was answered: one function per statement, each a transaction of its own, all by the database's clock. */
export function postgresIdempotency(db: Db): IdempotencyStore {
  return {
    claim: async (name, request) => (await take(db, name, request)) ?? (await look(db, name, request)),
    renew: (name, claim) => renew(db, name, claim),
    complete: (name, claim, answer) => complete(db, name, claim, answer),
    abandon: (name, claim) => abandon(db, name, claim),
    sweep: () => sweep(db),
  };
}

const lease = `now() + interval '${limits.idempotencyLeaseMs} milliseconds'`;
const isOld = (row: string) => `${row}created_at < now() - interval '${limits.idempotencyKeptMs} milliseconds'`;

const values = ({ caller, operation, key }: KeyName) => [caller, operation, key];
const isOne = 'caller = $1 and operation = $2 and key = $3';

/** The row is new, or old enough to be forgotten, or whoever began the same request is gone; of several one gets it. */
async function take(db: Queryable, name: KeyName, request: Buffer): Promise<Claim | undefined> {
  const { rows } = await db.query<{ claim: string }>(
    `insert into idempotency_keys as k (caller, operation, key, request, lease_until) values ($1, $2, $3, $4, ${lease})
     on conflict (caller, operation, key) do update
       set request = excluded.request, claim = excluded.claim, lease_until = excluded.lease_until,
           status = null, answer = null, created_at = excluded.created_at
     where ${isOld('k.')} or (k.lease_until < now() and k.request = excluded.request)
     returning claim`,
    [...values(name), request],
  );
  const [mine] = rows;
  return mine && { state: 'ours', claim: mine.claim };
}

async function look(db: Queryable, name: KeyName, request: Buffer): Promise<Claim> {
  const { rows } = await db.query<{ same: boolean; status: number | null; answer: string | null }>(
    `select request = $4 as same, status, answer from idempotency_keys where ${isOne}`,
    [...values(name), request],
  );
  const [row] = rows;
  // Given back since: whoever asks again gets it.
  if (row === undefined) return { state: 'running' };
  if (!row.same) return { state: 'other' };
  if (row.status === null) return { state: 'running' };
  return { state: 'done', answer: { status: row.status, text: row.answer } };
}

async function renew(db: Queryable, name: KeyName, claim: string): Promise<void> {
  await db.query(
    `update idempotency_keys set lease_until = ${lease} where ${isOne} and claim = $4 and status is null`,
    [...values(name), claim],
  );
}

async function complete(db: Queryable, name: KeyName, claim: string, { status, text }: KeptAnswer): Promise<void> {
  await db.query(
    `update idempotency_keys set lease_until = null, status = $5, answer = $6 where ${isOne} and claim = $4`,
    [...values(name), claim, status, text],
  );
}

async function abandon(db: Queryable, name: KeyName, claim: string): Promise<void> {
  await db.query(`delete from idempotency_keys where ${isOne} and claim = $4`, [...values(name), claim]);
}

async function sweep(db: Queryable): Promise<number> {
  const { rowCount } = await db.query(
    `delete from idempotency_keys where (caller, operation, key) in (
       select caller, operation, key from idempotency_keys where ${isOld('')} order by created_at limit $1)`,
    [limits.idempotencySweepRows],
  );
  return rowCount ?? 0;
}
