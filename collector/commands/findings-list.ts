import type { SigilCheck } from '../../common/sigil.ts';
import { findingList } from '../api/fleet-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { type CommandContext, optionalNodeName } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';

export interface FindingsListOptions extends ListOptions {
  readonly node?: string;
  readonly store?: string;
  readonly check?: SigilCheck;
  readonly state: 'open' | 'resolved' | 'all';
}

type Finding = AnswerOf<typeof findingList>['items'][number];

/** Failed checks of sigils and their stores, newest first. */
export function findingsList(context: CommandContext, options: FindingsListOptions): Promise<number> {
  const { store, check, state } = options;
  const query = { node: optionalNodeName(options.node), store, check, state };
  return showList(context, options, {
    page: (api, at) => api.call(findingList, { query: { ...query, ...at } }),
    heading: ['INDEX', 'NODE', 'STORE', 'CHECK', 'STATE', 'SINCE', 'WHERE', 'DETAIL'],
    cells: findingCells,
    none: 'no such findings',
  });
}

function findingCells({ opened_index, node, store, check, state, opened_at, finding }: Finding): readonly string[] {
  const place = finding.key ?? (finding.file === null ? '-' : `${finding.file}:${finding.offset ?? 0}`);
  return [
    String(opened_index),
    node,
    shownCell(store),
    check,
    state,
    opened_at,
    shownCell(place),
    shownCell(finding.detail),
  ];
}
