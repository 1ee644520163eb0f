import { count } from '../../common/fields.ts';
import { entryList } from '../api/ledger-contract.ts';
import { type EntryRow, listEntries } from '../postgres/entry-list-store.ts';
import type { Queryable } from '../postgres/pool.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

const paging: Paging<EntryRow, number, ReturnType<typeof showEntry>> = {
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

export function addEntriesRoutes(serve: Serve, db: Queryable): void {
  serve.json(entryList, async ({ query: { author, kind, from, to, ...rest } }) =>
    page(paging, rest, (at) => listEntries(db, { author, kind, from, to }, at)),
  );
}
