import { exitCodes } from '../../common/exit-codes.ts';
import { type DriftStory, driftStory } from '../http/drifts-routes.ts';
import { type CommandContext, show } from './context.ts';
import { contradictedField } from './contradicted.ts';
import { differenceLines } from './drifts-list.ts';
import { lookAtEnforcement } from './enforcing.ts';
import { shownCell } from './ledger-replay.ts';
import { formatOrders } from './orders-list.ts';

/** One drift, with the orders that answered it. */
export async function driftsShow(context: CommandContext, index: string): Promise<number> {
  const contradicted = await lookAtEnforcement(context, async (looking) => {
    const drift = await driftStory(looking.db, index, looking.nowMs);
    show(context, { ...drift, ...contradictedField(looking.contradicted) }, () => formatDrift(drift));
    return looking.contradicted;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

function formatDrift(drift: DriftStory): string {
  const { opened_index, opened_at, changed_index, resolved_index, resolved_at, orders } = drift;
  const changed = changed_index === opened_index ? '' : `, changed with entry ${changed_index}`;
  const lines = [
    `${drift.kind} of ${shownCell(drift.container)} on ${drift.node}`,
    `  opened at ${opened_at.toISOString()} with entry ${opened_index}${changed}`,
    ...(resolved_at === null
      ? ['  stands']
      : [`  resolved at ${resolved_at.toISOString()} with entry ${resolved_index}`]),
    `  judged by commit ${shownCell(drift.commit)}`,
    `  container id ${shownCell(drift.container_id)}`,
    ...differenceLines(drift).map((line) => `  ${shownCell(line)}`),
  ];
  const told = orders.length === 0 ? 'no order answered it\n' : formatOrders(orders);
  return `${lines.join('\n')}\n\n${told}`;
}
