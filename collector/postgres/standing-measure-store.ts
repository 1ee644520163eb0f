import { rfc3339 } from '../../common/clock.ts';
import type { Body, Kind } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { StandingMeasures } from '../enforcement/ports.ts';
import type { Queryable } from './pool.ts';

/** A statement that holds enforcement up or lets it go on, and when it was made. */
export interface MeasureRow<K extends Kind> {
  readonly index: number;
  readonly atMs: number;
  readonly body: Body<K>;
}

/** As the port has them, with when they were made. */
export interface TimedMeasures extends StandingMeasures {
  readonly frozen: readonly MeasureRow<'enforcement.frozen'>[];
  readonly silences: readonly MeasureRow<'drift.silenced'>[];
  readonly announcements: readonly MeasureRow<'change.announced'>[];
}

/** What stands at `nowMs`, each oldest first. */
export async function readMeasures(db: Queryable, nowMs: number): Promise<TimedMeasures> {
  const [frozen, silences, announcements] = await Promise.all([
    readFrozen(db),
    readSilences(db, nowMs),
    readAnnouncements(db, nowMs),
  ]);
  return { frozen, silences, announcements };
}

interface TimedRow<K extends Kind> {
  readonly index: number;
  readonly at: Date;
  readonly body: Body<K>;
}

function timed<K extends Kind>({ index, at, body }: TimedRow<K>): MeasureRow<K> {
  return { index, atMs: at.getTime(), body };
}

/** Commits of which the last word is that they are frozen. */
export async function readFrozen(db: Queryable): Promise<readonly MeasureRow<'enforcement.frozen'>[]> {
  const { rows } = await db.query<TimedRow<'enforcement.frozen'>>(
    `select index, at, body
       from (select distinct on (body ->> 'commit') index, at, kind, body from measures
              where kind in ('enforcement.frozen', 'enforcement.released')
              order by body ->> 'commit', index desc) last_word
      where kind = 'enforcement.frozen'
      order by index`,
  );
  return rows.map(timed);
}

/** Those that stand, oldest first. */
export async function readSilences(db: Queryable, nowMs: number): Promise<readonly MeasureRow<'drift.silenced'>[]> {
  const { rows } = await db.query<TimedRow<'drift.silenced'>>(
    `select index, at, body from measures s
      where kind = 'drift.silenced' and (body ->> 'until')::timestamptz > $1
        and not exists (select from measures e
                         where e.kind = 'drift.unsilenced' and e.body ->> 'id' = s.body ->> 'id' and e.index > s.index)
      order by index`,
    [rfc3339(nowMs)],
  );
  return rows.map(timed);
}

/** Until when one holds stands in its signed text, which is not for a statement to read: the newest ones that may. */
async function readAnnouncements(db: Queryable, nowMs: number): Promise<readonly MeasureRow<'change.announced'>[]> {
  const { rows } = await db.query<TimedRow<'change.announced'>>(
    `select index, at, body from measures where kind = 'change.announced' and at > $1 order by index desc limit $2`,
    [rfc3339(nowMs - limits.maxAnnouncedMs - limits.clockSuspectMs), limits.maxAnnouncementsRead],
  );
  return rows.map(timed).reverse();
}
