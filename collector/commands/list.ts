import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import { printableJson } from '../../common/printable.ts';
import type { Client } from '../client/client.ts';
import { writePieces } from '../data/new-file.ts';
import { type ApiSession, withApi } from './api.ts';
import type { CommandContext } from './context.ts';
import { createTable } from './table.ts';

/** Options of every list that has pages. */
export interface ListOptions {
  readonly limit?: string;
  /** To the end, instead. */
  readonly all?: boolean;
}

/** Which page: spread into the query. */
export interface PageWish {
  readonly limit: number;
  readonly cursor: string | undefined;
}

interface Page<Item> {
  readonly items: readonly Item[];
  /** Left out by lists that are one page. */
  readonly next_cursor?: string | null;
}

/** A list of the API, and how its rows look. */
export interface List<Item> {
  readonly page: (api: Client, at: PageWish) => Promise<Page<Item>>;
  readonly heading: readonly string[];
  readonly cells: (item: Item) => readonly string[];
  /** Said where there is no row. */
  readonly none: string;
}

/**
 * Shows a list, row by row as it comes: in JSON one document `{items, more}`, for people a table, else cells between tabs.
 * What fails on the way leaves a document that ends in the middle, and no exit code 0.
 * @throws AppError `validation.request`; `state.conflict` when it is stopped before the end; what the API refuses.
 */
export function showList<Item>(context: CommandContext, options: ListOptions, list: List<Item>): Promise<number> {
  const rows = wantedRows(options);
  return withApi(context, async (session) => {
    const pages = pagesOf(context, session.api, { list, rows });
    const pieces = context.json ? asJson(pages, session) : asTable(context, pages, list);
    await writePieces(context.stdout, pieces);
    return exitCodes.done;
  });
}

function wantedRows({ limit, all }: ListOptions): number | 'all' {
  if (all !== true) return requireLimit(limit);
  if (limit === undefined) return 'all';
  throw new AppError('validation.request', '--limit and --all both say how many rows: give one of them');
}

/** How many rows a list shows. @throws AppError `validation.request`. */
export function requireLimit(text: string | undefined): number {
  if (text === undefined) return limits.pageSizeDefault;
  const value = /^[1-9][0-9]{0,8}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= limits.pageSizeMax) return value;
  throw new AppError('validation.request', `--limit ${text}: a number from 1 to ${limits.pageSizeMax}`);
}

interface ShownPage<Item> {
  readonly items: readonly Item[];
  /** Whether there are rows that are not shown; of the last page. */
  readonly more: boolean;
}

async function* pagesOf<Item>(
  { stopRequested }: CommandContext,
  api: Client,
  { list, rows }: { readonly list: List<Item>; readonly rows: number | 'all' },
): AsyncGenerator<ShownPage<Item>> {
  const limit = rows === 'all' ? limits.pageSizeMax : rows;
  const stopped = stopRequested.then((reason) => {
    throw new AppError('state.conflict', `stopped by ${reason} before the end of the list`);
  });
  // Nobody waits for it any more once the list is at its end.
  stopped.catch(() => {});
  for (let cursor: string | undefined; ; ) {
    const { items, next_cursor: next = null } = await Promise.race([list.page(api, { limit, cursor }), stopped]);
    yield { items, more: next !== null };
    if (next === null || rows !== 'all') return;
    cursor = next;
  }
}

async function* asJson<Item>(pages: AsyncIterable<ShownPage<Item>>, session: ApiSession): AsyncGenerator<string> {
  const started = { document: false, rows: false };
  let last = false;
  for await (const { items, more } of pages) {
    last = more;
    const texts = items.map((item) => printableJson(item).trimEnd());
    yield `${started.document ? '' : '{"items":['}${started.rows && texts.length > 0 ? ',' : ''}${texts.join(',')}`;
    started.document = true;
    started.rows ||= texts.length > 0;
  }
  // The rest of the document, from its second member on.
  const rest = printableJson({ more: last, ...session.contradictedField() });
  yield `],${rest.slice(1)}`;
}

async function* asTable<Item>(
  context: CommandContext,
  pages: AsyncIterable<ShownPage<Item>>,
  { heading, cells, none }: List<Item>,
): AsyncGenerator<string> {
  const { stdout, stderr } = context;
  const table = createTable(context, heading);
  let rows = 0;
  let last = false;
  for await (const { items, more } of pages) {
    last = more;
    rows += items.length;
    if (items.length > 0) yield table.lines(items.map(cells));
  }
  const terminal = stdout.isTTY === true;
  if (rows === 0 && terminal) yield `${none}\n`;
  if (!last) return;
  // What programs read ends with the last row.
  if (terminal) yield moreLine;
  else stderr.write(moreLine);
}

const moreLine = `there are more; --limit shows up to ${limits.pageSizeMax}, --all all of them\n`;
