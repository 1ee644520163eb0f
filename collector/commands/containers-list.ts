import { containerList } from '../api/fleet-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { type CommandContext, optionalNodeName } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';

export interface ContainersListOptions extends ListOptions {
  readonly node?: string;
  readonly name?: string;
  readonly image?: string;
  readonly state?: string;
}

const shownIdChars = 12;

/** Containers as they were observed last, by node and id. */
export function containersList(context: CommandContext, options: ContainersListOptions): Promise<number> {
  const { name, image, state } = options;
  const query = { node: optionalNodeName(options.node), name, image, state };
  return showList(context, options, {
    page: (api, at) => api.call(containerList, { query: { ...query, ...at } }),
    heading: ['NODE', 'CONTAINER', 'STATE', 'HEALTH', 'STARTED', 'IMAGE', 'ID'],
    cells: containerCells,
    none: 'no such containers',
  });
}

function containerCells(row: AnswerOf<typeof containerList>['items'][number]): readonly string[] {
  const ended = row.state === 'exited' || row.state === 'dead';
  return [
    row.node,
    shownCell(row.name),
    ended ? `${row.state} (${row.exit_code})` : row.state,
    row.health,
    row.started_at ?? 'never',
    shownCell(row.image),
    row.id.slice(0, shownIdChars),
  ];
}
