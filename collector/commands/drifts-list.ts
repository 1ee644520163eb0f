import type { DriftKind } from '../../common/drift-kind.ts';
import { driftList } from '../api/drifts-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { type CommandContext, optionalNodeName } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';

export interface DriftsListOptions extends ListOptions {
  readonly node?: string;
  readonly kind?: DriftKind;
  readonly container?: string;
  readonly state: 'open' | 'resolved' | 'all';
}

type Drift = AnswerOf<typeof driftList>['items'][number];

/** Drifts, newest first, with both sides of each field. */
export function driftsList(context: CommandContext, options: DriftsListOptions): Promise<number> {
  const { kind, container, state } = options;
  const query = { node: optionalNodeName(options.node), kind, container, state };
  return showList(context, options, {
    page: (api, at) => api.call(driftList, { query: { ...query, ...at } }),
    heading: ['INDEX', 'NODE', 'KIND', 'CONTAINER', 'STATE', 'SINCE', 'DESIRED -> OBSERVED'],
    cells: driftCells,
    none: 'no such drifts',
  });
}

function driftCells(drift: Drift): readonly string[] {
  return [
    String(drift.opened_index),
    drift.node,
    drift.kind,
    shownCell(drift.container),
    drift.state,
    drift.opened_at,
    shownCell(differenceLines(drift).join('; ')),
  ];
}

/** One for each field that differs. */
export function differenceLines({ differences }: Pick<Drift, 'differences'>): readonly string[] {
  return differences.map(({ field, desired, observed }) => `${field}: ${desired ?? '-'} -> ${observed ?? '-'}`);
}
