import { z } from 'zod';
import { driftKinds } from '../../common/drift-kind.ts';
import { count, nodeName } from '../../common/fields.ts';
import type { Queryable } from '../postgres/pool.ts';
import { type DriftRow, listDrifts } from '../postgres/query-store.ts';
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

export function addDriftsRoutes(routes: Routes, db: Queryable): void {
  routes.get('/api/v1/drifts', async (c) => {
    const { node, kind, container, state, from, to, ...rest } = readQuery(c, query);
    const filter = { node, kind, container, state, from, to };
    return c.json(await page(paging, rest, (at) => listDrifts(db, filter, at)));
  });
}
