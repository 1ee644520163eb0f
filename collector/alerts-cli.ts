import type { Command } from 'commander';
import type { CommandContext } from './commands/context.ts';

type Perform = (action: (context: CommandContext) => Promise<number>) => Promise<void>;

/** The commands about alerts and who is told of them. */
export function addAlerts(alerts: Command, perform: Perform): void {
  alerts
    .command('test <channel>')
    .description('send a marked test to a channel of the settings; exit code 1 when it is not taken')
    .action((channel: string) =>
      perform(async (context) => (await import('./commands/alerts-test.ts')).alertsTest(context, channel)),
    );
}
