import { rfc3339 } from '../../common/clock.ts';
import type { Kind } from '../../common/kinds.ts';
import { entryList } from '../api/ledger-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { systemClock } from '../clock.ts';
import { type CommandContext, optionalNodeName } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';
import { parseMoment } from './moment.ts';

export interface EntriesListOptions extends ListOptions {
  readonly author?: string;
  readonly kind?: Kind;
  readonly from?: string;
  readonly to?: string;
}

/** Entries of the ledger, newest first; in JSON with what they say. */
export function entriesList(context: CommandContext, options: EntriesListOptions): Promise<number> {
  const { kind } = options;
  const author = optionalNodeName(options.author);
  const query = { author, kind, from: momentIn(options.from), to: momentIn(options.to) };
  return showList(context, options, {
    page: (api, at) => api.call(entryList, { query: { ...query, ...at } }),
    heading: ['INDEX', 'AUTHOR', 'SEQ', 'KIND', 'AT', 'RECEIVED', 'HASH'],
    cells: entryCells,
    none: 'no such entries',
  });
}

function entryCells(row: AnswerOf<typeof entryList>['items'][number]): readonly string[] {
  const { index, author, seq, kind, at, received_at, entry_hash } = row;
  return [String(index), author, String(seq), shownCell(kind), at, received_at ?? '-', entry_hash];
}

function momentIn(text: string | undefined): string | undefined {
  return text === undefined ? undefined : rfc3339(parseMoment(text, systemClock.now()));
}
