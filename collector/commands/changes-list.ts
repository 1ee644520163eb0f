import { changeList } from '../api/governance-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import type { CommandContext } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { showList } from './list.ts';

export interface ChangesListOptions {
  readonly state: 'standing' | 'all';
}

/** Changes that somebody has announced. */
export function changesList(context: CommandContext, { state }: ChangesListOptions): Promise<number> {
  return showList(
    context,
    {},
    {
      page: (api) => api.call(changeList, { query: { state } }),
      heading: ['ENTRY', 'NODE', 'CONTAINER', 'BECOMES', 'BEFORE', 'BY'],
      cells: changeCells,
      none: 'no change is announced',
    },
  );
}

function changeCells(change: AnswerOf<typeof changeList>['items'][number]): readonly string[] {
  const { index, node, container, becomes, before, stands, approver } = change;
  return [
    String(index),
    node ?? 'all',
    shownCell(container),
    shownCell(becomes),
    stands ? before : `${before} (over)`,
    shownCell(approver),
  ];
}
