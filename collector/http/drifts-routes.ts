import { z } from 'zod';
import type { Clock } from '../../common/clock.ts';
import { driftKinds } from '../../common/drift-kind.ts';
import { decodeDecimal } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { count, nodeName } from '../../common/fields.ts';
import { orderView } from '../enforcement/view.ts';
import { ordersOfDrift } from '../postgres/enforcement-store.ts';
import type { Queryable } from '../postgres/pool.ts';
import { type DriftRow, listDrifts, readDrift } from '../postgres/query-store.ts';
import type { Routes } from './env.ts';
import { type Paging, page } from './paging.ts';
import { filterText, filterTime, pageParameters, readQuery } from './query.ts';

const query = z.strictObject({
  ...pageParameters,
  node: nodeName.optional(),
  kind: z.enum(driftKinds).optional(),
  container: filterText.optional(),
  state: z.enum(['open', 'resolved', 'all']).default('all'),
  from: filterTime.optional(),
  to: filterTime.optional(),
});

const paging: Paging<DriftRow, number> = {
  list: 'drifts',
  key: count,
  keyOf: ({ opened_index }) => opened_index,
  show: (row) => row,
};

export function addDriftsRoutes(routes: Routes, db: Queryable, clock: Pick<Clock, 'now'>): void {
  routes.get('/api/v1/drifts', async (c) => {
    const { node, kind, container, state, from, to, ...rest } = readQuery(c, query);
    const filter = { node, kind, container, state, from, to };
    return c.json(await page(paging, rest, (at) => listDrifts(db, filter, at)));
  });
  routes.get('/api/v1/drifts/:index', async (c) => {
    readQuery(c, z.strictObject({}));
    return c.json(await driftStory(db, c.req.param('index'), clock.now()));
  });
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
