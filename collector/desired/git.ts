import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

const run = promisify(execFile);

/** What is committed in a local git repository: a work tree, or a bare one. Never the network. */
export interface Repository {
  /** Id of the commit that HEAD names. @throws AppError `validation.manifest` when it cannot be read. */
  head(): Promise<string>;
  /** A file of a commit. @throws AppError `validation.manifest` when the commit has no such file. */
  read(commit: string, file: string): Promise<string>;
}

/** Where system commands live; the environment is read by the program's entry alone. */
const commandPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The repository at `path`, through the git command. */
export function gitRepository(path: string): Repository {
  const git = async (what: string, ...args: readonly string[]): Promise<string> => {
    // Another user may own the checkout; only objects are read, and no hooks run.
    const safe = ['-c', `safe.directory=${path}`, '-c', 'core.fsmonitor=false', '-C', path];
    try {
      const { stdout } = await run('git', [...safe, ...args], {
        encoding: 'utf8',
        timeout: limits.gitTimeoutMs,
        maxBuffer: limits.maxManifestBytes,
        env: { PATH: commandPath, LC_ALL: 'C', GIT_OPTIONAL_LOCKS: '0', GIT_TERMINAL_PROMPT: '0' },
      });
      return stdout;
    } catch (cause) {
      const reason = reasonOf(cause);
      throw new AppError('validation.manifest', `${what}: ${reason}`, {
        cause,
        details: { file: what, line: 1, column: 1, reason },
      });
    }
  };
  return {
    head: async () => (await git(path, 'rev-parse', '--verify', 'HEAD^{commit}')).trim(),
    read: (commit, file) => git(file, 'cat-file', 'blob', `${commit}:${file}`),
  };
}

/** The first line of what git said is for people already; what kept git from running is not. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if ('killed' in cause && cause.killed === true) return `git did not answer within ${limits.gitTimeoutMs} ms`;
  if ('code' in cause && cause.code === 'ENOENT') return 'the git command is not installed';
  if ('code' in cause && typeof cause.code === 'string') return `the git command cannot be run (${cause.code})`;
  const stderr = 'stderr' in cause && typeof cause.stderr === 'string' ? cause.stderr.trim() : '';
  return stderr.split('\n')[0]?.slice(0, limits.maxForeignTextChars) || 'git failed without saying why';
}
