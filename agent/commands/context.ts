import { AppError } from '../../common/errors.ts';
import { nodeName } from '../../common/fields.ts';
import type { AgentSettings } from '../config.ts';

/** The command line's outside. */
export interface CliContext {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  readonly readFile: (path: string) => string;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Whether standard error is a terminal. */
  readonly terminal: boolean;
  /** Asks whoever sits at the terminal; absent where nobody does. */
  readonly confirm?: (question: string) => Promise<boolean>;
  /** Hears once of a signal to stop, by its name, instead of being ended by it. @returns what ends that */
  readonly onStop?: (stop: (signal: string) => void) => () => void;
  /** Runs the agent until it is told to stop; resolves to the exit code. */
  readonly run: (settings: AgentSettings) => Promise<number>;
}

/** Options that every command takes. */
export interface GlobalOptions {
  readonly config?: string;
  readonly dataDir?: string;
  readonly printConfig?: boolean;
  readonly json?: boolean;
}

/** What a command does; resolves to its exit code. */
export type Action = (settings: AgentSettings, show: Show) => Promise<number>;

/** Prints a result as JSON or, formatted, for a person. */
export type Show = <T>(result: T, format: (result: T) => string) => void;

/** Performs the one action of a command line, with the settings in force. */
export type Perform = (action: Action) => Promise<void>;

/** Performs it as the owner of the data directory where root asks: what comes of it there is the agent's, and what is seen is what the agent sees. */
export function asOwner(perform: Perform): Perform {
  return (action) =>
    perform(async (settings, show) => {
      const { becomeOwner } = await import('../data/owner.ts');
      await becomeOwner(settings.dataDir);
      return action(settings, show);
    });
}

/**
 * The node that a command is about: the one given, or this one by its enrolment or its host name.
 * @throws AppError `validation.config`, and as `enrolledNode`
 */
export async function nodeMeant(given: string | undefined, dataDir: string, hostname: string): Promise<string> {
  return requireNodeName(given ?? (await enrolledName(dataDir)) ?? hostname);
}

/** Read as its owner: root asks for it to look at more than the agent may. */
async function enrolledName(dataDir: string): Promise<string | undefined> {
  const { enrolledNode } = await import('../identity.ts');
  const { actAsOwner } = await import('../data/owner.ts');
  const goBack = await actAsOwner(dataDir);
  return enrolledNode(dataDir).finally(goBack);
}

/** @throws AppError `validation.config` */
export function requireNodeName(name: string): string {
  const parsed = nodeName.safeParse(name.toLowerCase());
  if (parsed.success) return parsed.data;
  throw new AppError(
    'validation.config',
    `"${name}" cannot be a node name: lower-case letters, digits and hyphens; give --node`,
  );
}
