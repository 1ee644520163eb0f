import { z } from 'zod';
import { hex64, nodeName } from '../../common/fields.ts';
import type { Queryable } from '../postgres/pool.ts';
import { type ContainerRow, listContainers } from '../postgres/query-store.ts';
import type { Routes } from './env.ts';
import { type Paging, page } from './paging.ts';
import { filterText, pageParameters, readQuery } from './query.ts';

const query = z.strictObject({
  ...pageParameters,
  node: nodeName.optional(),
  name: filterText.optional(),
  image: filterText.optional(),
  state: filterText.optional(),
});

const paging: Paging<ContainerRow, [string, string]> = {
  list: 'containers',
  key: z.tuple([nodeName, hex64]),
  keyOf: ({ node, id }) => [node, id],
  show: (row) => row,
};

export function addContainersRoutes(routes: Routes, db: Queryable): void {
  routes.get('/api/v1/containers', async (c) => {
    const { node, name, image, state, ...rest } = readQuery(c, query);
    return c.json(await page(paging, rest, (at) => listContainers(db, { node, name, image, state }, at)));
  });
}
