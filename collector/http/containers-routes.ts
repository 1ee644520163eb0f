import { z } from 'zod';
import { hex64, nodeName } from '../../common/fields.ts';
import { containerList } from '../api/fleet-contract.ts';
import type { Queryable } from '../postgres/pool.ts';
import { type ContainerRow, listContainers } from '../postgres/query-store.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

const paging: Paging<ContainerRow, [string, string], ContainerRow> = {
  list: 'containers',
  key: z.tuple([nodeName, hex64]),
  keyOf: ({ node, id }) => [node, id],
  show: (row) => row,
};

export function addContainersRoutes(serve: Serve, db: Queryable): void {
  serve.json(containerList, ({ query: { node, name, image, state, ...rest } }) =>
    page(paging, rest, (at) => listContainers(db, { node, name, image, state }, at)),
  );
}
