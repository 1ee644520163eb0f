import { rfc3339 } from '../../common/clock.ts';
import type { Severity } from '../alerts/alert.ts';
import type { NewNotification } from '../alerts/ports.ts';
import type { AlertSilence } from '../alerts/standing.ts';
import type { Queryable, Tx } from './pool.ts';

/*
 * What each channel was told of alerts that stand, and what keeps people from being told: one function per statement.
 */

/** By channel. */
export async function readToldOf(tx: Tx, alert: string): Promise<ReadonlyMap<string, Severity>> {
  const { rows } = await tx.query<{ channel: string; severity: Severity }>(
    'select channel, severity from alert_told where alert = $1',
    [alert],
  );
  return new Map(rows.map(({ channel, severity }) => [channel, severity]));
}

/** By alert. */
export async function readToldTo(tx: Tx, channel: string): Promise<ReadonlyMap<string, Severity>> {
  const { rows } = await tx.query<{ alert: string; severity: Severity }>(
    'select alert, severity from alert_told where channel = $1',
    [channel],
  );
  return new Map(rows.map(({ alert, severity }) => [alert, severity]));
}

/** Of what tells that an alert stands. */
export async function noteTold(tx: Tx, notifications: readonly NewNotification[]): Promise<void> {
  const standing = notifications.filter(({ item }) => item.change !== 'resolved');
  if (standing.length === 0) return;
  await tx.query(
    `insert into alert_told (alert, channel, severity) select * from unnest($1::text[], $2::text[], $3::text[])
     on conflict (alert, channel) do update set severity = excluded.severity`,
    [
      standing.map(({ alert }) => alert),
      standing.map(({ channel }) => channel),
      standing.map(({ item }) => item.severity),
    ],
  );
}

export async function forgetAlert(tx: Tx, alert: string): Promise<void> {
  await tx.query('delete from alert_told where alert = $1', [alert]);
}

export async function forgetChannel(tx: Tx, channel: string): Promise<void> {
  await tx.query('delete from alert_told where channel = $1', [channel]);
}

/**
 * Only of the present occurrence: of one before, the end waits behind. The channel knows again what it was told before the first
 * notification that is taken back.
 */
export async function takeBack(tx: Tx, alerts: readonly string[]): Promise<void> {
  await tx.query(
    `with taken as (delete from alert_notifications n using alerts a
                     where a.id = n.alert and n.alert = any($1) and n.state = 'waiting' and not n.tried
                       and n.change in ('raised', 'repeated') and (n.item ->> 'index')::bigint >= a.raised_index
                    returning n.id, n.alert, n.channel, n.change, n.item ->> 'previousSeverity' as previous),
          first as (select distinct on (alert, channel) alert, channel, previous from taken
                     where change = 'raised' or previous is not null
                     order by alert, channel, id),
          forgotten as (delete from alert_told t using first f
                         where t.alert = f.alert and t.channel = f.channel and f.previous is null)
     update alert_told t set severity = f.previous from first f
      where t.alert = f.alert and t.channel = f.channel and f.previous is not null`,
    [alerts],
  );
}

interface SilenceRow {
  readonly id: string;
  readonly pattern: string;
  readonly until: Date;
  readonly actor: string;
  readonly reason: string;
  readonly made_index: number;
  readonly made_at: Date;
}

/** Those that are not over, oldest first, as of the entries that were read. */
export async function readSilences(db: Queryable, nowMs: number): Promise<readonly AlertSilence[]> {
  const { rows } = await db.query<SilenceRow>(
    'select id, pattern, until, actor, reason, made_index, made_at from alert_silences where until > $1 order by made_index',
    [rfc3339(nowMs)],
  );
  return rows.map(({ until, made_index, made_at, ...row }) => ({
    ...row,
    ...{ untilMs: until.getTime(), index: made_index, atMs: made_at.getTime() },
  }));
}

export async function keepSilence(tx: Tx, silence: AlertSilence): Promise<void> {
  const { id, pattern, untilMs, actor, reason, index, atMs } = silence;
  await tx.query(
    `insert into alert_silences (id, pattern, until, actor, reason, made_index, made_at) values ($1, $2, $3, $4, $5, $6, $7)
     on conflict (id) do nothing`,
    [id, pattern, rfc3339(untilMs), actor, reason, index, rfc3339(atMs)],
  );
}

export async function endSilence(tx: Tx, id: string): Promise<void> {
  await tx.query('delete from alert_silences where id = $1', [id]);
}

export async function dropEndedSilences(db: Queryable, now: string): Promise<void> {
  await db.query('delete from alert_silences where until <= $1', [now]);
}
