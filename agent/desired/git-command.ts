import { limits } from '../../common/limits.ts';
import { type CommandAnswer, type CommandOptions, runCommand } from './command.ts';

export interface GitOptions extends CommandOptions {
  /** Settings for this one call; they count above all others. */
  readonly config?: Readonly<Record<string, string>>;
  /** What git may ask the system for in one piece; of hostile objects it would otherwise ask for as much as they claim. */
  readonly maxObjectBytes?: number;
}

/**
 * Nobody else's settings, no prompts, no hooks, no network; and nothing that lets a repository say one thing and hold another:
 * replaced objects, grafts, and parents noted apart from their commits.
 */
const environment = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_ATTR_NOSYSTEM: '1',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_GRAFT_FILE: '/dev/null',
  GIT_NO_LAZY_FETCH: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_TERMINAL_PROMPT: '0',
};

const settings = {
  'core.hooksPath': '/dev/null',
  'core.fsmonitor': 'false',
  'core.commitGraph': 'false',
  'protocol.allow': 'never',
  'transfer.fsckObjects': 'true',
  // A pack stays the pack it came as: what was small to carry may be large file by file.
  'transfer.unpackLimit': '1',
  // Large objects go through in pieces, one at a time.
  'core.bigFileThreshold': '1m',
  'core.deltaBaseCacheLimit': '8m',
  'pack.threads': '1',
  'gc.autoDetach': 'false',
};

/**
 * Runs git on the repository at `gitDir`, or at the path that `args` begin with (`-C`).
 * @throws CommandFailed as {@link runCommand}; an exit code is for the caller to read.
 */
export function runGit(args: readonly string[], options: GitOptions = {}): Promise<CommandAnswer> {
  const { config = {}, env = {}, maxObjectBytes = limits.maxLocalObjectBytes, ...rest } = options;
  const set = Object.entries({ ...settings, ...config }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return runCommand('git', [...set, ...args], {
    ...rest,
    env: { ...environment, GIT_ALLOC_LIMIT: String(maxObjectBytes), ...env },
  });
}

/** The first line of what a program said is for people already; advice of git is about something else. */
export function complaintOf({ stderr, exitCode }: Pick<CommandAnswer, 'stderr' | 'exitCode'>): string {
  const [line = ''] = stderr.split('\n').filter((said) => said.trim() !== '' && !said.startsWith('hint:'));
  return line.slice(0, limits.maxForeignTextChars) || `exit code ${exitCode}`;
}
