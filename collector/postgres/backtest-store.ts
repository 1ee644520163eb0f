import { statementSchema } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { BacktestView, PastStatement, Receipt } from '../backtest/ports.ts';
import type { StoredBody } from '../ledger/replay.ts';
import { postgresPlanningStore } from './enforcement-store.ts';
import { atOneMoment } from './history-store.ts';
import type { Db, Tx } from './pool.ts';

/** Runs `work` on one state of the database, in which no body is erased meanwhile. */
export function withBacktestView<T>(db: Db, work: (view: BacktestView) => Promise<T>): Promise<T> {
  return atOneMoment(db, (fleet, tx) => {
    const { ordersOf, endedDrifts } = postgresPlanningStore(tx);
    return work({
      ...{ fleet, ordersOf, endedDrifts },
      entries: (from, to, kinds) => readEntries(tx, { from, to, kinds }),
      receipts: (from, to) => readReceipts(tx, from, to),
      bodiless: (from, to) => countBodiless(tx, from, to),
      measuresBefore: (size) => readMeasuresBefore(tx, size),
    });
  });
}

interface BodyRow {
  readonly index: number;
  readonly leaf_hash: Buffer;
  readonly bytes: Buffer | null;
  readonly signature: Buffer | null;
}

async function readEntries(
  tx: Tx,
  { from, to, kinds }: { readonly from: number; readonly to: number; readonly kinds: readonly string[] },
): Promise<readonly StoredBody[]> {
  const { rows } = await tx.query<BodyRow>(
    'select index, leaf_hash, bytes, signature from entries_with_bodies($1, $2) where kind = any($3) order by run, place',
    [from, to, kinds],
  );
  return rows.map(({ index, leaf_hash, bytes, signature }) => ({
    index,
    leafHash: leaf_hash,
    body: bytes === null || signature === null ? undefined : { bytes, signature },
  }));
}

async function readReceipts(tx: Tx, from: number, to: number): Promise<readonly Receipt[]> {
  const { rows } = await tx.query<{ size: number; received_ms: number }>(
    `select size, received_ms from batches
      where size > $1 and size <= (select min(size) from batches where size >= $2)
      order by size`,
    [from, to],
  );
  return rows.map(({ size, received_ms }) => ({ size, receivedMs: received_ms }));
}

async function countBodiless(tx: Tx, from: number, to: number): Promise<number> {
  const { rows } = await tx.query<{ entries: number }>(
    `select coalesce(sum(least(r.index + r.width, $2) - greatest(r.index, $1)), 0)::bigint as entries from entry_runs r
      where r.index > $1 - ${limits.runMaxEntries} and r.index + r.width > $1 and r.index < $2
        and not exists (select from run_bodies b where b.index = r.index)`,
    [from, to],
  );
  return rows[0]?.entries ?? 0;
}

interface MeasureRow {
  readonly index: number;
  readonly kind: string;
  readonly node: string;
  readonly at: Date;
  readonly body: unknown;
}

async function readMeasuresBefore(tx: Tx, size: number): Promise<readonly PastStatement[]> {
  const { rows } = await tx.query<MeasureRow>(
    `select index, kind, node, at, body
       from ((select * from measures where kind in ('drift.silenced', 'drift.unsilenced') and index < $1)
             union all
             (select * from measures where kind = 'change.announced' and index < $1 order by index desc limit $2)
             union all
             (select distinct on (node) * from measures where kind = 'desired.adopted' and index < $1
               order by node, index desc)) told
      order by index`,
    [size, limits.maxAnnouncementsRead],
  );
  return rows.map(({ index, node, at, kind, body }) => ({
    ...{ index, author: node, atMs: at.getTime() },
    said: statementSchema.parse({ kind, body }),
  }));
}
