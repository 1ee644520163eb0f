import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

const run = promisify(execFile);

/** Reads what is committed in a local git repository: a work tree, or a bare repository. Never the network. */
export interface Repository {
  /** Id of the commit that HEAD names. @throws AppError `validation.manifest` when there is none. */
  head(): Promise<string>;
  /** A file of a commit. @throws AppError `validation.manifest` when the commit has no such file. */
  read(commit: string, file: string): Promise<string>;
  /** Paths of all files in a folder of a commit and below, from the root, sorted; none when there is no such folder. */
  list(commit: string, folder: string): Promise<readonly string[]>;
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
      encoding: 'utf8',
      timeout: limits.gitTimeoutMs,
      maxBuffer: limits.maxManifestBytes,
      env: { PATH: pathOfCommands(), LC_ALL: 'C', GIT_OPTIONAL_LOCKS: '0', GIT_TERMINAL_PROMPT: '0' },
    });
    return stdout;
  };
  return {
    head: async () => (await asked(git('rev-parse', '--verify', 'HEAD^{commit}'), path, 'it has no commit yet')).trim(),
    read: (commit, file) =>
      asked(git('cat-file', 'blob', `${commit}:${file}`), file, `commit ${commit} has no such file`),
    list: async (commit, folder) => {
      const options = ['ls-tree', '-r', '-z', '--name-only', '--full-tree', commit, '--', `${folder}/`];
      const names = await asked(git(...options), folder, `commit ${commit} cannot be listed`);
      return names
        .split('\0')
        .filter((name) => name !== '')
        .sort();
    },
  };
}

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
  if ('killed' in cause && cause.killed === true) return `git did not answer within ${limits.gitTimeoutMs} ms`;
  const code = 'code' in cause ? cause.code : undefined;
  if (code === 'ENOENT') return 'the git command is not installed';
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return `larger than ${limits.maxManifestBytes} bytes`;
  // A string is the errno of a git that could not even be started; a number is its exit code.
  if (typeof code === 'string') return `the git command cannot be run (${code})`;
  const stderr = 'stderr' in cause && typeof cause.stderr === 'string' ? cause.stderr : '';
  if (/not a git repository|cannot change to/.test(stderr)) return 'not a git repository';
  if (/dubious ownership|Permission denied/.test(stderr)) return stderr.trim().split('\n')[0];
  return undefined;
}
