import type { Command, Option } from 'commander';

/** A command as shells see it. */
export interface CompletedCommand {
  /** The words that lead to it, the program's name left out: `orders list`, and nothing for the program itself. */
  readonly path: string;
  readonly commands: readonly CompletedWord[];
  readonly options: readonly CompletedOption[];
  /** What may stand in the place of its arguments. */
  readonly value: CompletedValue;
}

export interface CompletedWord {
  readonly word: string;
  readonly description: string;
}

export interface CompletedOption {
  readonly flags: readonly string[];
  readonly description: string;
  /** What follows; undefined where nothing does. */
  readonly value: CompletedValue | undefined;
}

/** Some words, a file, or what only whoever types can know. */
export type CompletedValue = readonly string[] | 'file' | 'anything';

/** Every command with what may follow it, the program first. */
export function completedCommands(program: Command): readonly CompletedCommand[] {
  const everywhere = program.options.map(completedOption);
  const walk = (command: Command, words: readonly string[]): readonly CompletedCommand[] => {
    const { registeredArguments: args } = command;
    const own = command === program ? [] : command.options.map(completedOption);
    const value = args[0] === undefined ? [] : placeOf(args[0].name(), args[0].argChoices);
    return [
      {
        path: words.join(' '),
        commands: command.commands.map((sub) => ({ word: sub.name(), description: sub.description() })),
        options: [...own, ...everywhere, help],
        value,
      },
      ...command.commands.flatMap((sub) => walk(sub, [...words, sub.name()])),
    ];
  };
  return walk(program, []);
}

const help: CompletedOption = { flags: ['-h', '--help'], description: 'display help for command', value: undefined };

function completedOption(option: Option): CompletedOption {
  const { short, long, description, required, optional, argChoices, flags } = option;
  const name = /[<[]([^>\]]*)[>\]]/.exec(flags)?.[1] ?? '';
  return {
    flags: [short, long].filter((flag) => flag !== undefined),
    description,
    value: required || optional ? placeOf(name, argChoices) : undefined,
  };
}

/** What an argument is called tells what it is. */
function placeOf(name: string, words: readonly string[] | undefined): CompletedValue {
  if (words !== undefined) return words;
  return /file|folder|path|dir/.test(name) ? 'file' : 'anything';
}
