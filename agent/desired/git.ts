import { isUtf8 } from 'node:buffer';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

const run = promisify(execFile);

/** Something in a commit that is no folder. */
export interface TreeEntry {
  readonly path: string;
  /** Neither a symbolic link nor another repository. */
  readonly isFile: boolean;
}

/** Reads what is committed in a local git repository: a work tree, or a bare repository. Never the network. */
export interface Repository {
  /** Id of the commit that HEAD names. @throws AppError `validation.manifest` when there is none. */
  head(): Promise<string>;
  /** A file of a commit. @throws AppError `validation.manifest` when the commit has no such file. */
  read(commit: string, file: string): Promise<string>;
  /** What a commit has at a path and below, by paths from the root, sorted; nothing when there is nothing. */
  list(commit: string, path: string): Promise<readonly TreeEntry[]>;
}

/**
 * The repository at `path`, through the git command. What counts is what is committed: a changed work tree is nobody's
 * decision yet.
 */
export function gitRepository(path: string): Repository {
  const git = async (...args: readonly string[]): Promise<string> => {
    // The agent runs as another user than the checkout's owner; it reads objects only and runs no hooks.
    const safe = ['-c', `safe.directory=${path}`, '-c', 'core.fsmonitor=false', '-C', path];
    const { stdout } = await run('git', [...safe, ...args], {
      encoding: 'buffer',
      timeout: limits.gitTimeoutMs,
      maxBuffer: limits.maxManifestBytes,
      env: { PATH: pathOfCommands(), LC_ALL: 'C', GIT_OPTIONAL_LOCKS: '0', GIT_TERMINAL_PROMPT: '0' },
    });
    if (!isUtf8(stdout)) throw new Error(notUtf8);
    return stdout.toString('utf8');
  };
  return {
    head: async () => (await asked(git('rev-parse', '--verify', 'HEAD^{commit}'), path, 'it has no commit yet')).trim(),
    read: (commit, file) =>
      asked(git('cat-file', 'blob', `${commit}:${file}`), file, `commit ${commit} has no such file`),
    list: async (commit, folder) => {
      const options = ['ls-tree', '-r', '-z', '--full-tree', commit, '--', folder];
      const listed = await asked(git(...options), folder, `commit ${commit} cannot be listed`);
      const entries = [...listed.matchAll(/(\d+) \w+ [0-9a-f]+\t([^\0]*)\0/g)];
      return entries
        .map(([, mode, path = '']) => ({ path, isFile: mode === '100644' || mode === '100755' }))
        .sort((a, b) => (a.path < b.path ? -1 : 1));
    },
  };
}

const notUtf8 = 'not UTF-8';

/** Where system commands live; the environment is read by the program's entry alone. */
function pathOfCommands(): string {
  return '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
}

async function asked(answer: Promise<string>, what: string, otherwise: string): Promise<string> {
  try {
    return await answer;
  } catch (cause) {
    const reason = reasonOf(cause) ?? otherwise;
    throw new AppError('validation.manifest', `${what}: ${reason}`, {
      cause,
      details: { file: what, line: 1, column: 1, reason },
    });
  }
}

/** What went wrong, when it is about more than a missing object. */
function reasonOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  if (cause.message === notUtf8) return notUtf8;
  if ('killed' in cause && cause.killed === true) return `git did not answer within ${limits.gitTimeoutMs} ms`;
  const code = 'code' in cause ? cause.code : undefined;
  if (code === 'ENOENT') return 'the git command is not installed';
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return `larger than ${limits.maxManifestBytes} bytes`;
  // A string is the errno of a git that could not even be started; a number is its exit code.
  if (typeof code === 'string') return `the git command cannot be run (${code})`;
  const stderr = 'stderr' in cause ? String(cause.stderr) : '';
  if (/not a git repository|cannot change to/.test(stderr)) return 'not a git repository';
  if (/dubious ownership|Permission denied/.test(stderr)) return stderr.trim().split('\n')[0];
  return undefined;
}
