import { type ChildProcess, spawn } from 'node:child_process';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

/** What a program is started with. Nothing of our own environment is handed on. */
export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Buffer | Readable;
  /** Where its output goes instead of into the answer: an open file. */
  readonly outputTo?: number;
  readonly maxOutputBytes?: number;
}

export interface CommandAnswer {
  readonly exitCode: number;
  readonly stdout: Buffer;
  /** Both outputs of a program are bounded; of this one the beginning is kept. */
  readonly stderr: string;
}

/** A program that could not be run to its end. The message is for people. */
export class CommandFailed extends Error {}

/** Where system commands live; the environment is read by the program's entry alone. */
const commandPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Runs a program without a shell, and kills it with all it has started when it takes too long or says too much.
 * @throws CommandFailed when it is not installed, too slow or too loud; an exit code is no failure.
 */
export function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandAnswer> {
  const { env, input, outputTo, maxOutputBytes = limits.maxManifestBytes } = options;
  return new Promise((done, fail) => {
    const child = spawn(program, args, {
      cwd: '/',
      env: { PATH: commandPath, LC_ALL: 'C', HOME: '/nonexistent', ...env },
      stdio: ['pipe', outputTo ?? 'pipe', 'pipe'],
      // A group of its own, so that what git starts ends with it.
      detached: true,
    });
    let failure: CommandFailed | undefined;
    const give = (reason: string) => {
      failure ??= new CommandFailed(reason);
      killGroup(child);
    };
    const timer = setTimeout(
      () => give(`${program} did not answer within ${limits.gitTimeoutMs} ms`),
      limits.gitTimeoutMs,
    );
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    let [outBytes, errBytes] = [0, 0];
    child.stdout?.on('data', (piece: Buffer) => {
      outBytes += piece.length;
      if (outBytes > maxOutputBytes) return give(`larger than ${maxOutputBytes} bytes`);
      stdout.push(piece);
    });
    child.stderr?.on('data', (piece: Buffer) => {
      if (errBytes < maxComplaintBytes) stderr.push(piece);
      errBytes += piece.length;
    });
    if (child.stdin !== null) feed(child.stdin, input, give);
    child.on('error', (cause) => {
      failure ??= new CommandFailed(notStarted(program, cause), { cause });
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      if (failure !== undefined) return fail(failure);
      if (code === null) return fail(new CommandFailed(`${program} was killed`));
      done({ exitCode: code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString('utf8') });
    });
  });
}

/** A program that ends before it has read everything has its reasons, and says them. */
function feed(stdin: Writable, input: CommandOptions['input'], give: (reason: string) => void): void {
  stdin.on('error', () => {});
  if (!(input instanceof Readable)) return void stdin.end(input);
  input.on('error', ({ message }) => give(message));
  pipeline(input, stdin).catch(() => {});
}

const maxComplaintBytes = 64 * 1024;

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (thrown) {
    if (errnoOf(thrown) !== 'ESRCH') throw thrown;
  }
}

function notStarted(program: string, cause: Error): string {
  const code = errnoOf(cause);
  return code === 'ENOENT'
    ? `the ${program} command is not installed`
    : `the ${program} command cannot be run (${code})`;
}
