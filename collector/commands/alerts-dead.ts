import { exitCodes } from '../../common/exit-codes.ts';
import { alertDeadLetterList, alertDeadLetterRetry } from '../api/alerts-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';

/** Notifications that were given up, newest first. */
export function alertsDead(context: CommandContext, options: ListOptions): Promise<number> {
  return showList(context, options, {
    page: (api, at) => api.call(alertDeadLetterList, { query: at }),
    heading: ['ID', 'CHANNEL', 'CHANGE', 'ALERT', 'GIVEN UP', 'ATTEMPTS', 'ERROR'],
    cells: letterCells,
    none: 'there are no dead letters',
  });
}

function letterCells(letter: AnswerOf<typeof alertDeadLetterList>['items'][number]): readonly string[] {
  const { id, channel, change, key, died_at, attempts, last_error } = letter;
  return [String(id), channel, change, shownCell(key), died_at, String(attempts), shownCell(last_error ?? '-')];
}

/** Puts dead letters back into their queues, one after the other; a running collector sends them at once. */
export function alertsRetry(context: CommandContext, ids: readonly string[]): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const retried: number[] = [];
    for (const id of ids) retried.push((await api.call(alertDeadLetterRetry, { params: { id } })).id);
    show(
      context,
      { retried, ...contradictedField() },
      () => `${retried.length === 1 ? 'it waits' : 'they wait'} to be sent again\n`,
    );
    return exitCodes.done;
  });
}
