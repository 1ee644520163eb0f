import { rfc3339 } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';
import type { AttemptStore, Counted, Reservation } from '../auth/ports.ts';
import type { Db, Queryable } from './pool.ts';

export function postgresAttempts(db: Db): AttemptStore {
  return {
    reserve: async (counted) => {
      const made: Reservation[] = [];
      for (const one of counted) {
        const reservation = await reserve(db, one);
        made.push(reservation);
        // Whoever is refused for one thing does not use up the other.
        if (!reservation.granted) break;
      }
      return made;
    },
    giveBack: (subject, beganAtMs) => giveBack(db, subject, beganAtMs),
    failed: (subject, beganAtMs) => countFailed(db, subject, beganAtMs),
    tidy: () => deleteOver(db),
  };
}

const over = `a.began_at <= clock_timestamp() - interval '${limits.signInWindowMs} ms'`;

/**
 * One statement, and the row is its: of any number of callers at once, exactly as many are granted as are left. The window begins with
 * its first attempt, and those that are refused do not make it longer.
 */
async function reserve(db: Queryable, { subject, max }: Counted): Promise<Reservation> {
  const { rows } = await db.query<{ granted: boolean; began_at: Date; left_ms: number }>(
    `insert into sign_in_attempts as a (subject, began_at, taken, failed, granted)
     values ($1, date_trunc('milliseconds', clock_timestamp()), 1, 0, true)
     on conflict (subject) do update set
       began_at = case when ${over} then excluded.began_at else a.began_at end,
       taken = case when ${over} then 1 when a.taken < $2 then a.taken + 1 else a.taken end,
       failed = case when ${over} then 0 else a.failed end,
       granted = ${over} or a.taken < $2
     returning granted, began_at,
       extract(epoch from began_at - clock_timestamp()) * 1000 + ${limits.signInWindowMs} as left_ms`,
    [subject, max],
  );
  const [row] = rows;
  return {
    granted: row?.granted === true,
    beganAtMs: row?.began_at.getTime() ?? 0,
    retryAfterMs: Number(row?.left_ms ?? 0),
  };
}

async function giveBack(db: Queryable, subject: Buffer, beganAtMs: number): Promise<void> {
  await db.query(
    'update sign_in_attempts set taken = greatest(taken - 1, failed) where subject = $1 and began_at = $2',
    [subject, rfc3339(beganAtMs)],
  );
}

/** A window that has begun anew does not count it; who asks is told that it was not the first. */
async function countFailed(db: Queryable, subject: Buffer, beganAtMs: number): Promise<number> {
  const { rows } = await db.query<{ failed: number }>(
    'update sign_in_attempts set failed = failed + 1 where subject = $1 and began_at = $2 returning failed',
    [subject, rfc3339(beganAtMs)],
  );
  return rows[0]?.failed ?? 0;
}

async function deleteOver(db: Queryable): Promise<void> {
  await db.query(`delete from sign_in_attempts a where ${over}`);
}
