import type { Command } from 'commander';
import type { CommandContext } from './commands/context.ts';
import type { RefreshOptions } from './commands/desired-refresh.ts';

type Perform = (action: (context: CommandContext) => Promise<number>) => Promise<void>;

/** The commands about what should run, for a collector that runs. */
export function addDesired(program: Command, perform: Perform): void {
  program
    .command('desired')
    .description('what should run, as the running collector follows it')
    .command('refresh')
    .description('have the running collector look at its repository now; exit code 1 when it refuses what is there')
    .requiredOption('--token-file <file>', 'file with the operator token')
    .option('--url <url>', 'where the collector is (default: by its settings, on this machine)')
    .action((options: RefreshOptions) =>
      perform(async (context) => (await import('./commands/desired-refresh.ts')).desiredRefresh(context, options)),
    );
}
