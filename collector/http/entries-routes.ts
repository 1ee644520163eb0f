import { z } from 'zod';
import { count, nodeName } from '../../common/fields.ts';
import { kinds } from '../../common/kinds.ts';
import type { Queryable } from '../postgres/pool.ts';
import { type EntryRow, listEntries } from '../postgres/query-store.ts';
import type { Routes } from './env.ts';
import { type Paging, page } from './paging.ts';
import { filterTime, pageParameters, readQuery } from './query.ts';

const query = z.strictObject({
  ...pageParameters,
  author: nodeName.optional(),
  kind: z.enum(kinds).optional(),
  from: filterTime.optional(),
  to: filterTime.optional(),
});

const paging: Paging<EntryRow, number> = {
  list: 'entries',
  key: count,
  keyOf: ({ index }) => index,
  show: showEntry,
};

/** `entry` is the signed statement as its author wrote it, names included; null once its body has been dropped. */
function showEntry({ bytes, signature, entry_hash, leaf_hash, ...row }: EntryRow) {
  return {
    ...row,
    entry_hash: entry_hash.toString('hex'),
    leaf_hash: leaf_hash.toString('base64'),
    signature: signature?.toString('base64') ?? null,
    entry: bytes === null ? null : JSON.parse(bytes.toString('utf8')),
  };
}

export function addEntriesRoutes(routes: Routes, db: Queryable): void {
  routes.get('/api/v1/entries', async (c) => {
    const { author, kind, from, to, ...rest } = readQuery(c, query);
    return c.json(await page(paging, rest, (at) => listEntries(db, { author, kind, from, to }, at)));
  });
}
