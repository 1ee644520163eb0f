import { exitCodes } from '../../common/exit-codes.ts';
import { runbookOf } from '../alerts/catalog.ts';
import {
  type AlertChannelRow,
  type AlertListRow,
  listAlertChannels,
  listAlerts,
  type ToldRow,
} from '../postgres/alert-query-store.ts';
import { type CommandContext, formatTable, show, withCollectorData } from './context.ts';
import { contradictedField, contradictionOf } from './contradicted.ts';
import { moreLine, requireLimit } from './enforcing.ts';
import { shownCell } from './ledger-replay.ts';

export interface AlertsListOptions {
  readonly all?: boolean;
  readonly limit?: string;
}

/** Alerts that stand, newest first, with what each channel was told; and how the channels are. */
export async function alertsList(context: CommandContext, options: AlertsListOptions): Promise<number> {
  const limit = requireLimit(options.limit);
  const contradicted = await withCollectorData(context, async (data) => {
    const found = await contradictionOf(context, data);
    const { db } = data.database;
    const rows = await listAlerts(db, options.all === true ? 'all' : 'standing', {
      after: undefined,
      limit: limit + 1,
    });
    const { runbookUrl } = context.settings.alerts;
    const items = rows
      .slice(0, limit)
      .map((row): ListedAlert => ({ ...row, runbook: runbookOf(row.key, runbookUrl)?.place ?? null }));
    const more = rows.length > limit;
    const channels = await listAlertChannels(db);
    show(
      context,
      { items, more, channels, ...contradictedField(found) },
      () => `${formatAlerts(items)}${moreLine(more)}\n${formatChannels(channels)}`,
    );
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

/** With where its page of the runbook is; null for one that has none. */
interface ListedAlert extends AlertListRow {
  readonly runbook: string | null;
}

function formatAlerts(alerts: readonly ListedAlert[]): string {
  if (alerts.length === 0) return 'no alert stands\n';
  const cells = alerts.map((alert) => [
    alert.severity,
    shownCell(alert.key),
    alert.raised_at.toISOString(),
    alert.resolved_at?.toISOString() ?? 'stands',
    alert.notifications.map(toldText).join(', ') || 'nobody was told',
    shownCell(alert.summary),
  ]);
  const pages = new Set(alerts.flatMap(({ runbook }) => runbook ?? []));
  const table = formatTable([['SEVERITY', 'ALERT', 'SINCE', 'UNTIL', 'TOLD', 'SUMMARY'], ...cells]);
  return `${table}${[...pages].map((page) => `runbook: ${page}\n`).join('')}`;
}

function toldText({ channel, change, state, attempts }: ToldRow): string {
  if (state === 'delivered') return `${channel} (${change})`;
  return state === 'dead' ? `${channel} (${change}: given up)` : `${channel} (${change}: waits, ${attempts} attempts)`;
}

function formatChannels(channels: readonly AlertChannelRow[]): string {
  if (channels.length === 0) return 'no channel is set up (alerts.* in the settings), so nobody is told\n';
  const cells = channels.map((channel) => [
    channel.channel,
    channel.level,
    String(channel.waiting),
    String(channel.dead),
    channel.last_success_at?.toISOString() ?? 'never',
    channel.open_until === null ? '-' : channel.open_until.toISOString(),
    shownCell(channel.last_error ?? '-'),
  ]);
  return formatTable([['CHANNEL', 'LEVEL', 'WAITING', 'DEAD', 'LAST SENT', 'LEFT ALONE UNTIL', 'ERROR'], ...cells]);
}
