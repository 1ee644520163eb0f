import type { Clock } from '../../common/clock.ts';
import { decodeDecimal } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { count } from '../../common/fields.ts';
import { driftList, driftShow } from '../api/drifts-contract.ts';
import { orderView } from '../enforcement/view.ts';
import { ordersOfDrift } from '../postgres/enforcement-store.ts';
import type { Queryable } from '../postgres/pool.ts';
import { type DriftRow, listDrifts, readDrift } from '../postgres/query-store.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

const paging: Paging<DriftRow, number, DriftRow> = {
  list: 'drifts',
  key: count,
  keyOf: ({ opened_index }) => opened_index,
  show: (row) => row,
};

export function addDriftsRoutes(serve: Serve, db: Queryable, clock: Pick<Clock, 'now'>): void {
  serve.json(driftList, async ({ query: { node, kind, container, state, from, to, ...rest } }) => {
    const filter = { node, kind, container, state, from, to };
    return page(paging, rest, (at) => listDrifts(db, filter, at));
  });
  serve.json(driftShow, ({ params }) => driftStory(db, params.index, clock.now()));
}

/**
 * A drift with the orders that answered it, oldest first.
 * @param index of the entry that opened it.
 * @throws AppError `resource.not_found`.
 */
export async function driftStory(db: Queryable, index: string, nowMs: number) {
  const openedIndex = decodeDecimal(index);
  const drift = openedIndex === undefined ? undefined : await readDrift(db, openedIndex);
  if (drift === undefined) {
    throw new AppError(
      'resource.not_found',
      `no entry ${index.slice(0, 20)} opened a drift that is known; "drifts list" and GET /api/v1/drifts name them (opened_index)`,
    );
  }
  const { node, id, opened_index } = drift;
  const orders = await ordersOfDrift(db, { node, id, openedIndex: opened_index }, nowMs);
  return { ...drift, orders: orders.map(orderView) };
}

export type DriftStory = Awaited<ReturnType<typeof driftStory>>;
