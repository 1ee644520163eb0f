import type { Command } from 'commander';
import type { AlertsListOptions } from './commands/alerts-list.ts';
import type { CommandContext } from './commands/context.ts';

type Perform = (action: (context: CommandContext) => Promise<number>) => Promise<void>;

/** The commands about alerts and who is told of them. */
export function addAlerts(alerts: Command, perform: Perform): void {
  alerts
    .command('list')
    .description('alerts that stand with what each channel was told, and how the channels are')
    .option('--all', 'also those that are over, of the last 30 days')
    .option('--limit <rows>', 'how many to show')
    .action((options: AlertsListOptions) =>
      perform(async (context) => (await import('./commands/alerts-list.ts')).alertsList(context, options)),
    );
  alerts
    .command('dead')
    .description('notifications that were given up')
    .option('--limit <rows>', 'how many to show')
    .action((options: { limit?: string }) =>
      perform(async (context) => (await import('./commands/alerts-dead.ts')).alertsDead(context, options)),
    );
  alerts
    .command('retry <id...>')
    .description('send notifications again that were given up, by their ids in "alerts dead"')
    .action((ids: string[]) =>
      perform(async (context) => (await import('./commands/alerts-dead.ts')).alertsRetry(context, ids)),
    );
  alerts
    .command('test <channel>')
    .description('send a marked test to a channel of the settings; exit code 1 when it is not taken')
    .action((channel: string) =>
      perform(async (context) => (await import('./commands/alerts-test.ts')).alertsTest(context, channel)),
    );
}
