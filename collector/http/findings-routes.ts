import { z } from 'zod';
import { count, nodeName } from '../../common/fields.ts';
import { sigilChecks } from '../../common/sigil.ts';
import type { Queryable } from '../postgres/pool.ts';
import { type FindingRow, listFindings } from '../postgres/query-store.ts';
import type { Routes } from './env.ts';
import { snakeCased } from './json.ts';
import { type Paging, page } from './paging.ts';
import { filterText, filterTime, pageParameters, readQuery } from './query.ts';

const query = z.strictObject({
  ...pageParameters,
  node: nodeName.optional(),
  store: filterText.optional(),
  check: z.enum(sigilChecks).optional(),
  state: z.enum(['open', 'resolved', 'all']).default('all'),
  from: filterTime.optional(),
  to: filterTime.optional(),
});

const paging: Paging<FindingRow, number> = {
  list: 'findings',
  key: count,
  keyOf: ({ opened_index }) => opened_index,
  show: (row) => ({ ...row, finding: snakeCased(row.finding) }),
};

export function addFindingsRoutes(routes: Routes, db: Queryable): void {
  routes.get('/api/v1/findings', async (c) => {
    const { node, store, check, state, from, to, ...rest } = readQuery(c, query);
    const filter = { node, store, check, state, from, to };
    return c.json(await page(paging, rest, (at) => listFindings(db, filter, at)));
  });
}
