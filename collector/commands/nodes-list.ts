import { nodeList } from '../api/fleet-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import type { CommandContext } from './context.ts';
import { type ListOptions, showList } from './list.ts';

export interface NodesListOptions extends ListOptions {
  readonly state: 'active' | 'revoked' | 'all';
}

/** Nodes that were ever enrolled, by name. */
export function nodesList(context: CommandContext, options: NodesListOptions): Promise<number> {
  const { state } = options;
  return showList(context, options, {
    page: (api, at) => api.call(nodeList, { query: { state, ...at } }),
    heading: ['NODE', 'STATE', 'LAST ENTRY', 'COVERAGE', 'CONTAINERS', 'DRIFTS', 'COLLECTOR', 'KEY', 'AGENT'],
    cells: nodeCells,
    none: 'no such nodes; make a join token with "sigilwatch-collector nodes token NAME"',
  });
}

function nodeCells(row: AnswerOf<typeof nodeList>['items'][number]): readonly string[] {
  return [
    row.node,
    row.state,
    row.last_entry_at ?? 'never',
    row.coverage ?? '-',
    String(row.containers ?? '-'),
    String(row.open_drifts ?? '-'),
    row.collector ?? 'cut off',
    row.fingerprint,
    row.agent_version ?? '-',
  ];
}
