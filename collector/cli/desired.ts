import type { Command } from 'commander';
import type { Perform } from './options.ts';

/** The commands about what should run, for a collector that runs. */
export function addDesired(program: Command, perform: Perform): void {
  program
    .command('desired')
    .description('what should run, as the running collector follows it')
    .command('refresh')
    .description(
      'have the running collector, here or at --server, look at its repository now; wants a token; exit code 1 when it refuses what is there',
    )
    .action(() => perform(async (context) => (await import('../commands/desired-refresh.ts')).desiredRefresh(context)));
}
