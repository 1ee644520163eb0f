import { parseLogged } from '../../common/entry.ts';
import { limits } from '../../common/limits.ts';
import { channelService, type Severity } from '../alerts/alert.ts';
import type { HoldSources } from '../alerts/holds.ts';
import { inhibitorsAmong } from '../alerts/inhibition.ts';
import type { AlertFigures } from '../alerts/metrics.ts';
import type { Retried } from '../alerts/operator.ts';
import { type AlertSilence, type AlertWord, alertId, type SilenceWord, wordOf } from '../alerts/standing.ts';
import { alertKindList } from './alert-store.ts';
import { readSilences } from './alert-told-store.ts';
import { databaseNow } from './erasure-run-store.ts';
import type { Queryable } from './pool.ts';
import type { Page } from './query-store.ts';
import { readFrozen } from './standing-measure-store.ts';

/** What a channel was told of an alert last. */
interface ToldRow {
  readonly channel: string;
  readonly change: string;
  readonly state: 'waiting' | 'delivered' | 'dead';
  readonly attempts: number;
  /** RFC 3339; null while it waits. */
  readonly settled_at: string | null;
  readonly last_error: string | null;
}

/** An alert, and by channel what it was told last. */
export interface AlertListRow {
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
  readonly acknowledged_index: number | null;
  readonly acknowledged_at: Date | null;
  readonly acknowledged_by: string | null;
  readonly acknowledged_reason: string | null;
  readonly notifications: readonly ToldRow[];
}

/** Alerts, newest first. @param state `standing`, or all that are remembered. */
export async function listAlerts(
  db: Queryable,
  state: 'standing' | 'all',
  page: Page<number>,
): Promise<readonly AlertListRow[]> {
  const { rows } = await db.query<AlertListRow>(
    `select key, severity, worst, summary, node, raised_index, raised_at, resolved_index, resolved_at, reason,
            acknowledged_index, acknowledged_at, acknowledged_by, acknowledged_reason,
            coalesce((select jsonb_agg(to_jsonb(t) order by t.channel)
                        from (select distinct on (n.channel) n.channel, n.change, n.state, n.attempts,
                                     to_char(n.settled_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as settled_at,
                                     n.last_error
                                from alert_notifications n where n.alert = a.id
                               order by n.channel, n.id desc) t), '[]') as notifications
       from alerts a
      where ($1 = 'all' or resolved_index is null) and ($2::bigint is null or raised_index < $2)
      order by raised_index desc limit $3`,
    [state, page.after, page.limit],
  );
  return rows;
}

/** Keys of all alerts that stand, and the worst that each was. */
async function listStanding(db: Queryable): Promise<readonly Pick<AlertListRow, 'key' | 'worst'>[]> {
  const { rows } = await db.query<Pick<AlertListRow, 'key' | 'worst'>>(
    'select key, worst from alerts where resolved_index is null',
  );
  return rows;
}

/** What alerts are held back by at this moment, by the clock of the database. */
export async function alertHoldSources(db: Queryable): Promise<HoldSources> {
  const nowMs = await databaseNow(db);
  const frozen = await readFrozen(db);
  const inhibitors = inhibitorsAmong(
    await listStanding(db),
    frozen.map(({ body }) => body),
  );
  return { nowMs, inhibitors, silences: await alertSilences(db, nowMs) };
}

/** A channel that some collector has, or had, in its settings. */
interface AlertChannelRow {
  readonly channel: string;
  readonly level: Severity;
  /** Told only of what still stands, unacknowledged, so long after it was raised; null for at once. */
  readonly escalate_after_ms: number | null;
  /** When a collector said last that it has it. */
  readonly seen_at: Date;
  readonly waiting: number;
  readonly dead: number;
  /** While it fails it is left alone until then, as its breaker has it. */
  readonly open_until: Date | null;
  readonly last_success_at: Date | null;
  readonly last_failure_at: Date | null;
  /** Null since the last success. */
  readonly last_error: string | null;
}

export async function listAlertChannels(db: Queryable): Promise<readonly AlertChannelRow[]> {
  const { rows } = await db.query<AlertChannelRow>(
    `select name as channel, level, escalate_after_ms, seen_at, last_success_at, last_failure_at, last_error,
            (select count(*) from alert_notifications where channel = name and state = 'waiting') as waiting,
            (select count(*) from alert_notifications where channel = name and state = 'dead') as dead,
            (select open_until from breakers where service = $1 || name and open_until > now()) as open_until
       from alert_channels order by name`,
    [channelService('')],
  );
  return rows;
}

/** Entries that speak of alerts and were not read yet, the newest ones, oldest first. One expression. @param $1 how many. */
const unreadSql = `
  coalesce((select jsonb_agg(jsonb_build_object('index', index, 'bytes', encode(bytes, 'hex')) order by index)
              from (select index, bytes from first_entries
                     where kind in (${alertKindList}) and index >= (select next_index from alert_cursor) and bytes is not null
                     order by index desc limit $1) newest), '[]')`;

type Unread = readonly { readonly index: number; readonly bytes: string }[];

function wordsIn(unread: Unread): readonly (AlertWord | SilenceWord)[] {
  return unread.flatMap(({ index, bytes: hex }) => {
    const bytes = Buffer.from(hex, 'hex');
    return wordOf({ index, bytes, entry: parseLogged(bytes) }) ?? [];
  });
}

/** Whether the last word on an alert is that it was raised; by the entries that were not read yet, then by what those before led to. */
export async function alertStands(db: Queryable, key: string): Promise<boolean> {
  const id = alertId(key);
  const { rows } = await db.query<{ stands: boolean; unread: Unread }>(
    `select exists (select from alerts where id = $2 and resolved_index is null) as stands, ${unreadSql} as unread`,
    [limits.maxAlertEntriesRead, id],
  );
  const [found] = rows;
  const words = wordsIn(found?.unread ?? []);
  const last = words.findLast((word) => (word.says === 'raised' || word.says === 'resolved') && word.id === id);
  return last === undefined ? (found?.stands ?? false) : last.says === 'raised';
}

/** Silences that stand, oldest first; by the entries that were not read yet, too. */
export async function alertSilences(db: Queryable, nowMs: number): Promise<readonly AlertSilence[]> {
  const { rows } = await db.query<{ unread: Unread }>(`select ${unreadSql} as unread`, [limits.maxAlertEntriesRead]);
  // Afterwards: what was read in between is in both, and counts once.
  const known = await readSilences(db, nowMs);
  const standing = new Map(known.map((silence) => [silence.id, silence]));
  for (const word of wordsIn(rows[0]?.unread ?? [])) {
    if (word.says === 'silenced' && word.silence.untilMs > nowMs) standing.set(word.silence.id, word.silence);
    if (word.says === 'unsilenced') standing.delete(word.id);
  }
  return [...standing.values()];
}

/** A notification that was given up. */
export interface DeadLetterRow {
  readonly id: number;
  readonly channel: string;
  readonly key: string;
  readonly change: string;
  readonly summary: string;
  readonly attempts: number;
  readonly died_at: Date;
  readonly last_error: string | null;
}

/** When it was given up (RFC 3339), and its id. */
export type DeadLetterKey = readonly [diedAt: string, id: number];

/** Dead letters, newest first. */
export async function listDeadLetters(
  db: Queryable,
  { after, limit }: Page<DeadLetterKey>,
): Promise<readonly DeadLetterRow[]> {
  const [diedAt, id] = after ?? [null, null];
  const { rows } = await db.query<DeadLetterRow>(
    `select id, channel, item ->> 'key' as key, change, item ->> 'summary' as summary, attempts, settled_at as died_at, last_error
       from alert_notifications
      where state = 'dead' and ($1::timestamptz is null or (settled_at, id) < ($1, $2::bigint))
      order by settled_at desc, id desc limit $3`,
    [diedAt, id, limit],
  );
  return rows;
}

/**
 * Puts a dead letter back into its queue, as if it had never been tried; not what the channel knows better by now, nor the beginning of what is
 * over: it would end what stands, or stand there for ever.
 */
export async function retryDeadLetter(db: Queryable, id: number): Promise<Retried> {
  const { rows } = await db.query<{ overtaken: boolean }>(
    `with letter as (select n.id, exists (select from alert_notifications later
                                           where later.channel = n.channel and later.alert = n.alert and later.id > n.id
                                             and later.state = 'delivered')
                          or (n.change <> 'resolved'
                              and not exists (select from alerts a where a.id = n.alert and a.resolved_index is null
                                                 and (n.item ->> 'index')::bigint >= a.raised_index)) as overtaken
                       from alert_notifications n where n.id = $1 and n.state = 'dead'),
          put_back as (update alert_notifications
                          set state = 'waiting', attempts = 0, alone = true, due_at = now(), settled_at = null, claimed_until = null
                        where id in (select id from letter where not overtaken))
     select overtaken from letter`,
    [id],
  );
  const [letter] = rows;
  if (letter === undefined) return 'unknown';
  return letter.overtaken ? 'overtaken' : 'waiting';
}

/** Counts for metrics. One statement, so the figures belong together. */
export async function alertFigures(db: Queryable): Promise<AlertFigures> {
  const { rows } = await db.query<AlertFigures>(
    `select (select coalesce(jsonb_object_agg(severity, n), '{}')
               from (select severity, count(*) as n from alerts where resolved_index is null group by severity) s) as standing,
            (select coalesce(jsonb_agg(to_jsonb(c) order by c.name), '[]')
               from (select name,
                            (select count(*) from alert_notifications where channel = name and state = 'waiting') as waiting,
                            (select count(*) from alert_notifications where channel = name and state = 'dead') as dead
                       from alert_channels) c) as channels`,
  );
  return rows[0] ?? { standing: {}, channels: [] };
}
