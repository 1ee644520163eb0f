import { spawn } from 'node:child_process';
import { errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

export interface GitAnswer {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A git that could not be run to its end. The message is for people. */
export class CommandFailed extends Error {}

/** Where system commands live; the environment is read by the program's entry alone. */
const commandPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Commits as they are, without anything that stands in for them here, and nobody's prompts, hooks or network. */
const environment = {
  PATH: commandPath,
  LC_ALL: 'C',
  HOME: '/nonexistent',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_GRAFT_FILE: '/dev/null',
  GIT_NO_LAZY_FETCH: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_TERMINAL_PROMPT: '0',
};
const settings = ['-c', 'core.fsmonitor=false', '-c', 'core.commitGraph=false', '-c', 'protocol.allow=never'];

/** Runs git. @throws CommandFailed when it is not installed, too slow or too loud; an exit code is for the caller to read. */
export function runGit(
  args: readonly string[],
  { input = '', maxBytes = limits.maxManifestBytes }: { readonly input?: string; readonly maxBytes?: number },
): Promise<GitAnswer> {
  return new Promise((done, fail) => {
    const child = spawn('git', [...settings, ...args], { cwd: '/', env: environment, timeout: limits.gitTimeoutMs });
    let failure: CommandFailed | undefined;
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    let [outBytes, errBytes] = [0, 0];
    child.stdout.on('data', (piece: Buffer) => {
      outBytes += piece.length;
      if (outBytes <= maxBytes) return void stdout.push(piece);
      failure ??= new CommandFailed(`larger than ${maxBytes} bytes`);
      child.kill('SIGKILL');
    });
    child.stderr.on('data', (piece: Buffer) => {
      if (errBytes < limits.maxBundleHeaderBytes) stderr.push(piece);
      errBytes += piece.length;
    });
    // A git that ends before it has read everything says why.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.on('error', (cause) => {
      const code = errnoOf(cause);
      const reason = code === 'ENOENT' ? 'is not installed' : `cannot be run (${code})`;
      failure ??= new CommandFailed(`the git command ${reason}`, { cause });
    });
    child.on('close', (exitCode) => {
      if (failure !== undefined) return fail(failure);
      if (exitCode === null) return fail(new CommandFailed(`git did not answer within ${limits.gitTimeoutMs} ms`));
      done({ exitCode, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString('utf8') });
    });
  });
}
