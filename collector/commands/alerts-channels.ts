import { alertChannelList } from '../api/alerts-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import type { CommandContext } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { showList } from './list.ts';

/** Channels that people are told through, and how they do. */
export function alertsChannels(context: CommandContext): Promise<number> {
  return showList(
    context,
    {},
    {
      page: (api) => api.call(alertChannelList, {}),
      heading: ['CHANNEL', 'LEVEL', 'TOLD', 'WAITING', 'DEAD', 'LAST SENT', 'LEFT ALONE UNTIL', 'ERROR'],
      cells: channelCells,
      none: 'no channel is set up (alerts.* in the settings), so nobody is told',
    },
  );
}

function channelCells(row: AnswerOf<typeof alertChannelList>['items'][number]): readonly string[] {
  return [
    row.channel,
    row.level,
    row.escalate_after_ms === null ? 'at once' : `after ${row.escalate_after_ms / 1_000} s`,
    String(row.waiting),
    String(row.dead),
    row.last_success_at ?? 'never',
    row.open_until ?? '-',
    shownCell(row.last_error ?? '-'),
  ];
}
