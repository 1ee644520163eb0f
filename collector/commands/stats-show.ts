import { exitCodes } from '../../common/exit-codes.ts';
import { stats } from '../api/service-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';

/** Counts of what there is. */
export function statsShow(context: CommandContext): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const counts = await api.call(stats, {});
    show(context, { ...counts, ...contradictedField() }, () => formatStats(counts));
    return exitCodes.done;
  });
}

function formatStats(counts: AnswerOf<typeof stats>): string {
  const { ledger, nodes, containers } = counts;
  const lines = [
    `ledger     ${shownCell(ledger.origin)}, ${ledger.size} entries, root ${ledger.root ?? 'none yet'}`,
    `nodes      ${nodes.active} active, ${nodes.revoked} revoked`,
    `containers ${containers}`,
    `drifts     ${named(counts.open_drifts)}`,
    `findings   ${named(counts.open_findings)}`,
    `coverage   ${named(counts.coverage_minutes_24h)} (minutes of the last day)`,
  ];
  return `${lines.join('\n')}\n`;
}

function named(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([name, count]) => `${count} ${shownCell(name)}`);
  return parts.join(', ') || 'none';
}
