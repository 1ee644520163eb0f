import { rfc3339 } from '../../common/clock.ts';
import { parseLogged } from '../../common/entry.ts';
import type { AlertItem, Severity } from '../alerts/alert.ts';
import type { AlertDesk, AlertEntry, AlertStore, KnownChannel, NewNotification } from '../alerts/ports.ts';
import { type Acknowledgement, type Alert, alertKinds } from '../alerts/standing.ts';
import {
  dropEndedSilences,
  endSilence,
  forgetAlert,
  forgetChannel,
  keepSilence,
  noteTold,
  readSilences,
  readToldOf,
  readToldTo,
  takeBack,
} from './alert-told-store.ts';
import { databaseNow } from './erasure-run-store.ts';
import { type Db, type Queryable, type Tx, withTransaction } from './pool.ts';
import { readFrozen } from './standing-measure-store.ts';

/** Alerts as they stand and what is to be told of them: one function per statement. */
export function postgresAlertStore(db: Db): AlertStore {
  return {
    now: () => databaseNow(db),
    outlook: () => lookOut(db),
    atDesk: (work) => withTransaction(db, async (tx) => work(deskOf(tx, await lockCursor(tx)))),
    tidy: async ({ beforeMs, nowMs }) => {
      const before = rfc3339(beforeMs);
      await dropSettled(db, before);
      await dropForgotten(db, before);
      await dropResolved(db, before);
      await dropEndedSilences(db, rfc3339(nowMs));
    },
  };
}

function deskOf(tx: Tx, nextIndex: number): AlertDesk {
  return {
    nextEntries: (limit) => readEntries(tx, nextIndex, limit),
    advance: (to) => advance(tx, to),
    alert: (id) => readAlert(tx, id),
    keep: (alert) => keepAlert(tx, alert),
    channels: (sinceMs) => readChannels(tx, rfc3339(sinceMs)),
    welcome: (channel, nowMs, sinceMs) => welcome(tx, channel, { now: rfc3339(nowMs), since: rfc3339(sinceMs) }),
    standing: () => readStanding(tx),
    dueForRepeat: (channel, beforeMs) => readUntold(tx, channel.name, rfc3339(beforeMs)),
    enqueue: async (notifications, nowMs) => {
      if (notifications.length === 0) return;
      await enqueue(tx, notifications, rfc3339(nowMs));
      await noteTold(tx, notifications);
    },
    toldOf: (alert) => readToldOf(tx, alert),
    toldTo: (channel) => readToldTo(tx, channel),
    forgetAlert: (alert) => forgetAlert(tx, alert),
    forgetChannel: (channel) => forgetChannel(tx, channel),
    dropRepeats: (alert) => dropRepeats(tx, alert),
    takeBack: (alerts) => takeBack(tx, alerts),
    silences: (nowMs) => readSilences(tx, nowMs),
    freezes: async () => (await readFrozen(tx)).map(({ body }) => body),
    keepSilence: (silence) => keepSilence(tx, silence),
    endSilence: (id) => endSilence(tx, id),
  };
}

async function lockCursor(tx: Tx): Promise<number> {
  const { rows } = await tx.query<{ next_index: number }>('select next_index from alert_cursor for update');
  return rows[0]?.next_index ?? 0;
}

/** By name, not as a parameter: so the index of the rare kinds is used. */
export const alertKindList = alertKinds.map((kind) => `'${kind}'`).join(', ');

async function lookOut(db: Queryable): Promise<{ unread: boolean; standing: boolean }> {
  const { rows } = await db.query<{ unread: boolean; standing: boolean }>(
    `select exists (select from entry_runs e where e.kind in (${alertKindList})
                       and e.index >= (select next_index from alert_cursor)) as unread,
            exists (select from alerts where resolved_index is null) as standing`,
  );
  return rows[0] ?? { unread: false, standing: false };
}

async function readEntries(tx: Tx, from: number, limit: number): Promise<readonly AlertEntry[]> {
  const { rows } = await tx.query<{ index: number; bytes: Buffer | null; signature: Buffer | null }>(
    `select index, bytes, signature from first_entries
      where kind in (${alertKindList}) and index >= $1 order by index limit $2`,
    [from, limit],
  );
  return rows.map(({ index, bytes, signature }) => {
    const logged =
      bytes === null || signature === null ? undefined : { index, entry: parseLogged(bytes), bytes, signature };
    return { index, logged };
  });
}

async function advance(tx: Tx, to: number): Promise<void> {
  await tx.query('update alert_cursor set next_index = $1', [to]);
}

interface AlertRow {
  readonly id: string;
  readonly key: string;
  readonly severity: Severity;
  readonly worst: Severity;
  readonly summary: string;
  readonly node: string | null;
  readonly raised_index: number;
  readonly raised_at: Date;
  readonly resolved_index: number | null;
  readonly resolved_at: Date | null;
  readonly reason: string | null;
  readonly heard_at: Date;
  readonly acknowledged_index: number | null;
  readonly acknowledged_at: Date | null;
  readonly acknowledged_by: string | null;
  readonly acknowledged_reason: string | null;
}

const columns = `id, key, severity, worst, summary, node, raised_index, raised_at, resolved_index, resolved_at, reason, heard_at,
  acknowledged_index, acknowledged_at, acknowledged_by, acknowledged_reason`;

function alertOf(row: AlertRow): Alert {
  const { id, key, severity, worst, summary, node, reason } = row;
  return {
    ...{ id, key, severity, worst, summary, node, reason },
    ...{ raisedIndex: row.raised_index, raisedAtMs: row.raised_at.getTime(), heardAtMs: row.heard_at.getTime() },
    ...{ resolvedIndex: row.resolved_index, resolvedAtMs: row.resolved_at?.getTime() ?? null },
    acknowledged: acknowledgementOf(row),
  };
}

function acknowledgementOf(row: AlertRow): Acknowledgement | null {
  const { acknowledged_index: index, acknowledged_at: at, acknowledged_by: by, acknowledged_reason: reason } = row;
  return index === null || at === null ? null : { index, atMs: at.getTime(), by: by ?? '', reason: reason ?? '' };
}

async function readAlert(tx: Tx, id: string): Promise<Alert | undefined> {
  const { rows } = await tx.query<AlertRow>(`select ${columns} from alerts where id = $1`, [id]);
  return rows.map(alertOf)[0];
}

async function keepAlert(tx: Tx, alert: Alert): Promise<void> {
  const { id, key, severity, worst, summary, node, raisedIndex, raisedAtMs, resolvedIndex, resolvedAtMs, reason } =
    alert;
  const { heardAtMs, acknowledged } = alert;
  await tx.query(
    `insert into alerts (${columns}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
     on conflict (id) do update set (severity, worst, summary, node, raised_index, raised_at, resolved_index, resolved_at, reason,
                                     heard_at, acknowledged_index, acknowledged_at, acknowledged_by, acknowledged_reason)
       = (excluded.severity, excluded.worst, excluded.summary, excluded.node, excluded.raised_index, excluded.raised_at,
          excluded.resolved_index, excluded.resolved_at, excluded.reason, excluded.heard_at, excluded.acknowledged_index,
          excluded.acknowledged_at, excluded.acknowledged_by, excluded.acknowledged_reason)`,
    [
      ...[id, key, severity, worst, summary, node, raisedIndex, rfc3339(raisedAtMs), resolvedIndex],
      ...[resolvedAtMs === null ? null : rfc3339(resolvedAtMs), reason, rfc3339(heardAtMs)],
      ...[acknowledged?.index ?? null, acknowledged === null ? null : rfc3339(acknowledged.atMs)],
      ...[acknowledged?.by ?? null, acknowledged?.reason ?? null],
    ],
  );
}

/** Oldest first. */
async function readStanding(db: Queryable): Promise<readonly Alert[]> {
  const { rows } = await db.query<AlertRow>(
    `select ${columns} from alerts where resolved_index is null order by raised_index`,
  );
  return rows.map(alertOf);
}

async function readChannels(tx: Tx, since: string): Promise<readonly KnownChannel[]> {
  const { rows } = await tx.query<KnownChannel>(
    'select name, level, escalate_after_ms as "escalateAfterMs" from alert_channels where seen_at >= $1 order by name',
    [since],
  );
  return rows;
}

/** @returns whether it was not there, or not seen since. */
async function welcome(
  tx: Tx,
  { name, level, escalateAfterMs }: KnownChannel,
  at: { now: string; since: string },
): Promise<boolean> {
  const { rows } = await tx.query<{ known: boolean }>(
    `with before as (select seen_at from alert_channels where name = $1)
     insert into alert_channels (name, level, seen_at, escalate_after_ms) values ($1, $2, $3, $5)
     on conflict (name) do update set (level, seen_at, escalate_after_ms) = (excluded.level, excluded.seen_at, excluded.escalate_after_ms)
     returning coalesce((select seen_at >= $4 from before), false) as known`,
    [name, level, at.now, at.since, escalateAfterMs],
  );
  return rows[0]?.known !== true;
}

async function readUntold(tx: Tx, channel: string, before: string): Promise<readonly Alert[]> {
  const { rows } = await tx.query<AlertRow>(
    `select ${columns} from alerts a
      where resolved_index is null
        and not exists (select from alert_notifications n
                         where n.alert = a.id and n.channel = $1 and (n.state = 'waiting' or n.settled_at > $2))
      order by raised_index`,
    [channel, before],
  );
  return rows.map(alertOf);
}

async function enqueue(tx: Tx, notifications: readonly NewNotification[], now: string): Promise<void> {
  const items: readonly AlertItem[] = notifications.map(({ item }) => item);
  await tx.query(
    `insert into alert_notifications (channel, alert, change, item, created_at, due_at)
     select channel, alert, item ->> 'change', item, $1, due_at
       from unnest($2::text[], $3::text[], $4::jsonb[], $5::timestamptz[]) as new (channel, alert, item, due_at)`,
    [
      now,
      notifications.map(({ channel }) => channel),
      notifications.map(({ alert }) => alert),
      items.map((item) => JSON.stringify(item)),
      notifications.map(({ dueAtMs }) => rfc3339(dueAtMs)),
    ],
  );
}

async function dropRepeats(tx: Tx, alert: string): Promise<void> {
  await tx.query(
    `delete from alert_notifications where alert = $1 and state = 'waiting' and change = 'repeated' and claimed_until is null`,
    [alert],
  );
}

async function dropSettled(db: Queryable, before: string): Promise<void> {
  await db.query(`delete from alert_notifications where state in ('delivered', 'dead') and settled_at < $1`, [before]);
}

/** What waits for a channel that nobody has in its settings any more. */
async function dropForgotten(db: Queryable, before: string): Promise<void> {
  await db.query(
    `delete from alert_notifications where state = 'waiting'
        and channel in (select name from alert_channels where seen_at < $1)`,
    [before],
  );
}

async function dropResolved(db: Queryable, before: string): Promise<void> {
  await db.query('delete from alerts where resolved_at < $1', [before]);
}
