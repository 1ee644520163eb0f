import { z } from 'zod';
import { nodeName } from '../../common/fields.ts';
import type { Queryable } from '../postgres/pool.ts';
import { listNodes, type NodeRow } from '../postgres/query-store.ts';
import type { Routes } from './env.ts';
import { snakeCased } from './json.ts';
import { type Paging, page } from './paging.ts';
import { pageParameters, readQuery } from './query.ts';

const query = z.strictObject({ ...pageParameters, state: z.enum(['active', 'revoked', 'all']).default('all') });

const paging: Paging<NodeRow, string> = {
  list: 'nodes',
  key: nodeName,
  keyOf: ({ node }) => node,
  show: (row) => ({ ...row, stores: snakeCased(row.stores) }),
};

export function addNodesRoutes(routes: Routes, db: Queryable): void {
  routes.get('/api/v1/nodes', async (c) => {
    const { state, ...rest } = readQuery(c, query);
    const filter = { state: state === 'all' ? undefined : state };
    return c.json(await page(paging, rest, (at) => listNodes(db, filter, at)));
  });
}
