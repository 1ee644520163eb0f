import { exitCodes } from '../../common/exit-codes.ts';
import { driftShow } from '../api/drifts-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { differenceLines } from './drifts-list.ts';
import { shownCell } from './ledger-replay.ts';
import { orderCells, orderHeading } from './orders-list.ts';
import { formatTable } from './table.ts';

/** One drift, with the orders that answered it. */
export function driftsShow(context: CommandContext, index: string): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const drift = await api.call(driftShow, { params: { index } });
    show(context, { ...drift, ...contradictedField() }, () => formatDrift(drift));
    return exitCodes.done;
  });
}

function formatDrift(drift: AnswerOf<typeof driftShow>): string {
  const { opened_index, opened_at, changed_index, resolved_index, resolved_at, orders } = drift;
  const changed = changed_index === opened_index ? '' : `, changed with entry ${changed_index}`;
  const lines = [
    `${drift.kind} of ${shownCell(drift.container)} on ${drift.node}`,
    `  opened at ${opened_at} with entry ${opened_index}${changed}`,
    ...(resolved_at === null ? ['  stands'] : [`  resolved at ${resolved_at} with entry ${resolved_index}`]),
    `  judged by commit ${shownCell(drift.commit)}`,
    `  container id ${shownCell(drift.container_id)}`,
    ...differenceLines(drift).map((line) => `  ${shownCell(line)}`),
  ];
  const told = orders.length === 0 ? 'no order answered it\n' : formatTable([orderHeading, ...orders.map(orderCells)]);
  return `${lines.join('\n')}\n\n${told}`;
}
