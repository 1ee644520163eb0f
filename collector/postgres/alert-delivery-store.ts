import { rfc3339 } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';
import type { Claimed, DeliveryStore, Verdict } from '../alerts/ports.ts';
import { databaseNow } from './erasure-run-store.ts';
import type { Db, Queryable } from './pool.ts';

/** The queues of the channels, and how sending went last: one function per statement, each a transaction of its own. */
export function postgresDeliveryStore(db: Db): DeliveryStore {
  return {
    now: () => databaseNow(db),
    claim: (channel, { nowMs, untilMs, limit }) => claim(db, [channel, rfc3339(nowMs), rfc3339(untilMs), limit]),
    dropUntoldEnds: (ids) => dropUntoldEnds(db, ids),
    delivered: (ids, nowMs) => settle(db, ids, rfc3339(nowMs)),
    failed: (verdicts, { error, nowMs }) => putBack(db, verdicts, { error, now: rfc3339(nowMs) }),
    release: (ids) => release(db, ids),
    succeeded: (channel, nowMs) => succeed(db, channel, rfc3339(nowMs)),
    stumbled: (channel, error, nowMs) => stumble(db, channel, { error, now: rfc3339(nowMs) }),
  };
}

/** Whether a moment is over; one that is further away than any is set comes from a clock that was set back since, and is not waited for. */
const isOver = (moment: string, mostMs: number) =>
  `(${moment} <= $2::timestamptz or ${moment} > $2::timestamptz + interval '${2 * mostMs} milliseconds')`;

const isFree = `(n.claimed_until is null or ${isOver('n.claimed_until', limits.alertLeaseMs)})`;
const isDue = isOver('n.due_at', limits.maxAlertWaitMs);

/** Free, and no older word on the same alert waits before it. */
const ready = `n.channel = $1 and n.state = 'waiting' and ${isFree}
  and not exists (select from alert_notifications e
                   where e.channel = n.channel and e.alert = n.alert and e.state = 'waiting' and e.id < n.id)`;

/** Once one is due, those that are still being gathered go along. */
async function claim(db: Queryable, values: readonly [string, string, string, number]): Promise<readonly Claimed[]> {
  const { rows } = await db.query<Claimed>(
    `with first as (select n.id, n.alone from alert_notifications n where ${ready} and ${isDue} order by n.id limit 1),
          taken as (select n.id from alert_notifications n
                     where ${ready}
                       and case when (select alone from first) then n.id = (select id from first)
                                else not n.alone and (${isDue} or n.attempts = 0) and exists (select from first) end
                     order by n.id limit $4 for update skip locked),
          mine as (update alert_notifications n set claimed_until = $3, attempts = attempts + 1, tried = true
                    where n.id in (select id from taken) returning n.id, n.item, n.attempts)
     select id, item, attempts from mine order by id`,
    [...values],
  );
  return rows;
}

/**
 * By what lies between the end before and this one. It has to begin with the very first word of the alert: where that was tidied away, or
 * the severity that the channel knew is in it, the channel may have been told long ago.
 */
async function dropUntoldEnds(db: Queryable, ids: readonly number[]): Promise<readonly number[]> {
  const { rows } = await db.query<{ id: number }>(
    `with ends as (select n.id, array(select w.state from alert_notifications w
                                       where w.channel = n.channel and w.alert = n.alert and w.id < n.id
                                         and w.id > p.id) as before,
                          (select w.change = 'raised' and w.item ->> 'previousSeverity' is null from alert_notifications w
                            where w.channel = n.channel and w.alert = n.alert and w.id < n.id
                              and w.id > p.id order by w.id limit 1) as is_whole
                     from alert_notifications n
                    cross join lateral (select coalesce(max(p.id), 0) as id from alert_notifications p
                                         where p.channel = n.channel and p.alert = n.alert
                                           and p.id < n.id and p.change = 'resolved') p
                    where n.id = any($1) and n.change = 'resolved')
     delete from alert_notifications n using ends e
      where n.id = e.id and n.state = 'waiting' and e.is_whole and 'dead' = all(e.before)
     returning n.id`,
    [ids],
  );
  return rows.map(({ id }) => id);
}

async function settle(db: Queryable, ids: readonly number[], now: string): Promise<void> {
  await db.query(
    `update alert_notifications set state = 'delivered', settled_at = $2, claimed_until = null where id = any($1)`,
    [ids, now],
  );
}

/** Only what still waits: when the lease has ended in between, somebody else may have delivered it. */
async function putBack(
  db: Queryable,
  verdicts: readonly Verdict[],
  { error, now }: { error: string; now: string },
): Promise<void> {
  await db.query(
    `update alert_notifications n
        set state = case when v.due_at is null then 'dead' else 'waiting' end,
            settled_at = case when v.due_at is null then $4::timestamptz end,
            due_at = coalesce(v.due_at, n.due_at), alone = v.alone, claimed_until = null, last_error = $5
       from unnest($1::bigint[], $2::timestamptz[], $3::boolean[]) as v (id, due_at, alone)
      where n.id = v.id and n.state = 'waiting'`,
    [
      verdicts.map(({ id }) => id),
      verdicts.map(({ dueAtMs }) => (dueAtMs === undefined ? null : rfc3339(dueAtMs))),
      verdicts.map(({ alone }) => alone),
      ...[now, error],
    ],
  );
}

async function release(db: Queryable, ids: readonly number[]): Promise<void> {
  await db.query(
    `update alert_notifications set claimed_until = null, attempts = attempts - 1 where id = any($1) and state = 'waiting'`,
    [ids],
  );
}

async function succeed(db: Queryable, channel: string, now: string): Promise<void> {
  await db.query('update alert_channels set last_error = null, last_success_at = $2 where name = $1', [channel, now]);
}

async function stumble(db: Queryable, channel: string, { error, now }: { error: string; now: string }): Promise<void> {
  await db.query('update alert_channels set last_failure_at = $2, last_error = $3 where name = $1', [
    ...[channel, now, error],
  ]);
}
