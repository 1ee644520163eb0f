import type { Command } from 'commander';
import { alertSeverities } from '../../common/kinds.ts';
import type { EventsFollowOptions } from '../commands/events-follow.ts';
import { oneOf, type Perform } from './options.ts';

/** What happens, for whoever watches a collector that runs. */
export function addEvents(program: Command, perform: Perform): void {
  program
    .command('events')
    .description('what is appended to the ledger, as it happens')
    .command('follow')
    .description(
      'show each event of the running collector, here or at --server, until stopped; connects again by itself; wants a token',
    )
    .option('--node <node>', 'only about this one')
    .option('--kind <kinds>', 'only of this kind, or of these, separated by commas')
    .addOption(oneOf('--severity <severity>', 'only what is at least so grave', alertSeverities))
    .option('--after <index>', 'go on after this entry; -1 begins with the first')
    .option('--recent <number>', 'begin with so many of the latest that match')
    .action((options: EventsFollowOptions) =>
      perform(async (context) => (await import('../commands/events-follow.ts')).eventsFollow(context, options)),
    );
}
