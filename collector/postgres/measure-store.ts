import { rfc3339 } from '../../common/clock.ts';
import { collectorAuthor } from '../../common/entry.ts';
import { limits } from '../../common/limits.ts';
import type { MeasureRow, MeasureStore } from '../enforcement/measure-ports.ts';
import type { Queryable } from './pool.ts';

/** Notified when measures are on record, by whoever has put them there. */
export const measuresChannel = 'sigilwatch_measures';

/** What nodes are told of measures, from the projections: one function per statement. */
export function postgresMeasureStore(db: Queryable): MeasureStore {
  return {
    measuresFor: async (node, nowMs) => {
      const [commits, silences, announced, rejections] = await Promise.all([
        readCommits(db, node),
        readSilences(db, node, nowMs),
        readAnnouncements(db, nowMs),
        readRejections(db, node),
      ]);
      const areAll =
        [silences, rejections].every((rows) => rows.length <= limits.maxMeasuresTold) &&
        announced.length < limits.maxAnnouncementsRead;
      const rows = [commits, silences, announced, rejections].flat().sort((a, b) => a.index - b.index);
      return { rows, areAll };
    },
    measuresAfter: (index) => readAfter(db, index),
    lastMeasure: () => readLast(db),
  };
}

const said = (of: string) => `jsonb_build_object('kind', ${of}.kind, 'body', ${of}.body) as said`;

/** Of the commit that the node follows, whatever the last word is; of others only what can still be proved. */
async function readCommits(db: Queryable, node: string): Promise<readonly MeasureRow[]> {
  const { rows } = await db.query<MeasureRow>(
    `with adopted as (select body ->> 'commit' as commit from measures
                       where kind = 'desired.adopted' and node = $1 order by index desc limit 1),
          words as (select distinct on (body ->> 'commit') index, kind, body, body ->> 'commit' as commit from measures
                     where kind in ('enforcement.frozen', 'enforcement.released')
                     order by body ->> 'commit', index desc)
     select w.index, ${said('w')}, null as "order"
       from words w
      where w.commit in (select commit from adopted)
         or (w.kind = 'enforcement.frozen' and exists (select from run_bodies b where b.index = w.index))
      order by w.commit in (select commit from adopted) desc, w.index desc limit $2`,
    [node, limits.maxFreezesTold],
  );
  return rows;
}

/** Those that are not over; of one that was ended before its time, what ended it. */
async function readSilences(db: Queryable, node: string, nowMs: number): Promise<readonly MeasureRow[]> {
  const { rows } = await db.query<MeasureRow>(
    `select w.index, ${said('w')}, null as "order"
       from measures s
      cross join lateral (select * from measures e
                           where e.index = s.index
                              or (e.kind = 'drift.unsilenced' and e.body ->> 'id' = s.body ->> 'id' and e.index > s.index)
                           order by e.index desc limit 1) w
      where s.kind = 'drift.silenced' and (s.body ->> 'until')::timestamptz > $1
        and coalesce(s.body -> 'scope' ->> 'node', $2) = $2
      order by w.index desc limit $3`,
    [rfc3339(nowMs), node, limits.maxMeasuresTold + 1],
  );
  return rows;
}

/**
 * Whom one is about, and until when it holds, stands in its signed text, which is not for a statement to read. But none holds for
 * longer than `limits.maxAnnouncedMs`.
 */
async function readAnnouncements(db: Queryable, nowMs: number): Promise<readonly MeasureRow[]> {
  const { rows } = await db.query<MeasureRow>(
    `select m.index, ${said('m')}, null as "order" from measures m
      where m.kind = 'change.announced' and m.at > $1 order by m.index desc limit $2`,
    [rfc3339(nowMs - limits.maxAnnouncedMs - limits.clockSuspectMs), limits.maxAnnouncementsRead],
  );
  return rows;
}

/** As where an order stands: a result is what was done, and outweighs a rejection. */
async function readRejections(db: Queryable, node: string): Promise<readonly MeasureRow[]> {
  const { rows } = await db.query<MeasureRow>(
    `select e.index, ${said('e')}, o.body as "order"
       from orders o
       join order_events e on e.order_hash = o.hash and e.node = '${collectorAuthor}' and e.kind = 'order.rejected'
                          and e.index > o.index
       join drifts d on d.node = o.node and d.id = o.drift_id and d.resolved_index is null and d.opened_index < o.index
      where o.node = $1 and o.origin = 'rule'
        and o.commit = (select m.body ->> 'commit' from measures m
                         where m.kind = 'desired.adopted' and m.node = $1 order by m.index desc limit 1)
        and not exists (select from order_events r where r.order_hash = o.hash and r.node = o.node
                                                     and r.kind = 'order.result' and r.index > o.index)
      order by e.index desc limit $2`,
    [node, limits.maxMeasuresTold + 1],
  );
  return rows;
}

const measures = `
  (select m.index, m.kind, m.body, null::jsonb as "order" from measures m
    where m.node = '${collectorAuthor}' and m.kind <> 'desired.adopted'
   union all
   select e.index, e.kind, e.body, o.body from order_events e
     join lateral (select body from orders o where o.hash = e.order_hash order by o.index limit 1) o on true
    where e.node = '${collectorAuthor}' and e.kind = 'order.rejected') m`;

async function readAfter(db: Queryable, index: number): Promise<readonly MeasureRow[]> {
  const { rows } = await db.query<MeasureRow>(
    `select m.index, ${said('m')}, m."order" from ${measures} where m.index > $1 order by m.index limit $2`,
    [index, limits.maxMeasuresRead],
  );
  return rows;
}

async function readLast(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ index: number }>(`select coalesce(max(m.index), -1) as index from ${measures}`);
  return rows[0]?.index ?? -1;
}
