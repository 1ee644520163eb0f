import type { Command } from 'commander';
import type { AlertsListOptions } from '../commands/alerts-list.ts';
import type { AlertsSilenceOptions } from '../commands/alerts-silence.ts';
import type { AlertsTestOptions } from '../commands/alerts-test.ts';
import type { ListOptions } from '../commands/list.ts';
import { oneOf, type Perform, paged } from './options.ts';

/** The commands about alerts and who is told of them. */
export function addAlerts(alerts: Command, perform: Perform): void {
  addTelling(alerts, perform);
  addWishes(alerts, perform);
}

/** What operators wish about alerts. */
function addWishes(alerts: Command, perform: Perform): void {
  alerts
    .command('ack <key>')
    .description('say that somebody knows of an alert: it is not told again, until it ends or gets worse')
    .requiredOption('--reason <text>', 'goes on record')
    .action((key: string, { reason }: { reason: string }) =>
      perform(async (context) => (await import('../commands/alerts-ack.ts')).alertsAck(context, key, reason)),
    );
  alerts
    .command('silence <pattern>')
    .description(
      'tell nobody of some alerts for a while; a key, or the beginning of keys and a *, such as node.silent/*',
    )
    .option('--for <time>', 'such as 30m, 2h or 7d; up to 30 days')
    .option('--until <time>', 'instead, such as 2026-01-31T12:00:00Z')
    .requiredOption('--reason <text>', 'goes on record')
    .action((pattern: string, options: AlertsSilenceOptions) =>
      perform(async (context) =>
        (await import('../commands/alerts-silence.ts')).alertsSilence(context, pattern, options),
      ),
    );
  alerts
    .command('silences')
    .description('silences of alerts that stand')
    .action(() => perform(async (context) => (await import('../commands/alerts-silence.ts')).alertsSilences(context)));
  alerts
    .command('unsilence <id>')
    .description('end a silence before its time; what still stands is told then')
    .option('--reason <text>', 'goes on record', 'not needed any more')
    .action((id: string, { reason }: { reason: string }) =>
      perform(async (context) => (await import('../commands/alerts-silence.ts')).alertsUnsilence(context, id, reason)),
    );
}

function addTelling(alerts: Command, perform: Perform): void {
  paged(alerts.command('list'))
    .description('alerts with what each channel was told, newest first')
    .addOption(oneOf('--state <state>', 'all: also those that are over, of 30 days', ['standing', 'all'], 'standing'))
    .action((options: AlertsListOptions) =>
      perform(async (context) => (await import('../commands/alerts-list.ts')).alertsList(context, options)),
    );
  alerts
    .command('channels')
    .description('channels that people are told through, and how they do')
    .action(() => perform(async (context) => (await import('../commands/alerts-channels.ts')).alertsChannels(context)));
  paged(alerts.command('dead'))
    .description('notifications that were given up, the last one first')
    .action((options: ListOptions) =>
      perform(async (context) => (await import('../commands/alerts-dead.ts')).alertsDead(context, options)),
    );
  alerts
    .command('retry <id...>')
    .description('send notifications again that were given up, by their ids in "alerts dead"')
    .action((ids: string[]) =>
      perform(async (context) => (await import('../commands/alerts-dead.ts')).alertsRetry(context, ids)),
    );
  alerts
    .command('test <channel>')
    .description('send a marked test to a channel of the settings; exit code 1 when it is not taken')
    .option('--print', 'send nothing, and show what would be sent of some alerts')
    .action((channel: string, options: AlertsTestOptions) =>
      perform(async (context) => (await import('../commands/alerts-test.ts')).alertsTest(context, channel, options)),
    );
}
