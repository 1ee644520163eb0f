import { z } from 'zod';
import type { Page } from '../postgres/query-store.ts';
import { badParameter } from './query.ts';

/** One page of a list; `next_cursor` is null on the last one. */
export interface PageAnswer<Item> {
  readonly items: readonly Item[];
  readonly next_cursor: string | null;
}

/** How one list is cut into pages. */
export interface Paging<Row, Key, Item> {
  /** Name of the list: a cursor of another one is refused. */
  readonly list: string;
  readonly key: z.ZodType<Key>;
  readonly keyOf: (row: Row) => Key;
  readonly show: (row: Row) => Item;
}

/**
 * Reads one page. Asks for one row more than is shown, to know whether there is another page.
 * @throws AppError `validation.request` for a cursor that this list did not hand out.
 */
export async function page<Row, Key, Item>(
  { list, key, keyOf, show }: Paging<Row, Key, Item>,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
  fetch: (page: Page<Key>) => Promise<readonly Row[]>,
): Promise<PageAnswer<Item>> {
  const after = cursor === undefined ? undefined : decodeCursor(list, key, cursor);
  const rows = await fetch({ after, limit: limit + 1 });
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const more = rows.length > limit && last !== undefined;
  return { items: shown.map(show), next_cursor: more ? encodeCursor(list, keyOf(last)) : null };
}

/** Opaque to callers: base64url of the list's name and the key of the last row they saw. */
function encodeCursor(list: string, key: unknown): string {
  return Buffer.from(JSON.stringify([list, key]), 'utf8').toString('base64url');
}

function decodeCursor<Key>(list: string, key: z.ZodType<Key>, cursor: string): Key {
  try {
    return z.tuple([z.literal(list), key]).parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')))[1];
  } catch {
    throw badParameter('cursor', `is not one that the list of ${list} handed out`);
  }
}
