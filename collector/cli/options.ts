import { type Command, Option } from 'commander';
import type { CommandContext } from '../commands/context.ts';

/** Runs what a command does, with settings and whatever else is asked for on the command line. */
export type Perform = (action: (context: CommandContext) => Promise<number>) => Promise<void>;

/** An option that takes one of some words: `--help` tells them, shells complete them, and no other gets through. */
export function oneOf(flags: string, description: string, words: readonly string[], preset?: string): Option {
  const option = new Option(flags, description).choices(words);
  return preset === undefined ? option : option.default(preset);
}

/** What every list that has pages takes. */
export function paged(list: Command): Command {
  return list
    .option('--limit <rows>', 'how many to show, up to 1000 (default: 100)')
    .option('--all', 'show all of them, as they come');
}
