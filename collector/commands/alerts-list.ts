import { alertList } from '../api/alerts-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import type { CommandContext } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';

export interface AlertsListOptions extends ListOptions {
  readonly state: 'standing' | 'all';
}

type Alert = AnswerOf<typeof alertList>['items'][number];

/** Alerts, newest first, with what each channel was told. */
export function alertsList(context: CommandContext, options: AlertsListOptions): Promise<number> {
  const { state } = options;
  return showList(context, options, {
    page: (api, at) => api.call(alertList, { query: { state, ...at } }),
    heading: ['SEVERITY', 'ALERT', 'SINCE', 'UNTIL', 'TOLD', 'HELD', 'RUNBOOK', 'SUMMARY'],
    cells: alertCells,
    none: state === 'standing' ? 'no alert stands' : 'no alerts',
  });
}

function alertCells(alert: Alert): readonly string[] {
  return [
    alert.severity,
    shownCell(alert.key),
    alert.raised_at,
    alert.resolved_at ?? 'stands',
    alert.notifications.map(toldText).join(', ') || 'nobody was told',
    shownCell(heldText(alert)),
    shownCell(alert.runbook ?? '-'),
    shownCell(alert.summary),
  ];
}

/** Why it is not told now, or not told again. */
function heldText({ silenced, follows_from, acknowledged }: Alert): string {
  const parts = [
    ...(silenced === null ? [] : [`silenced until ${silenced.until} by ${silenced.actor}: ${silenced.reason}`]),
    ...(follows_from === null ? [] : [`follows from ${follows_from}`]),
    ...(acknowledged === null ? [] : [`acknowledged by ${acknowledged.by}: ${acknowledged.reason}`]),
  ];
  return parts.join('; ') || '-';
}

function toldText({ channel, change, state, attempts }: Alert['notifications'][number]): string {
  if (state === 'delivered') return `${channel} (${change})`;
  return state === 'dead' ? `${channel} (${change}: given up)` : `${channel} (${change}: waits, ${attempts} attempts)`;
}
