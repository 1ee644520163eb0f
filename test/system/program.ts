import { type ChildProcess, type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, existsSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as delay } from 'node:timers/promises';
import { takeCareOf } from './leftovers.ts';

export const projectRoot = join(import.meta.dirname, '../..');

/** The built programs, run as files: their first line holds the options that users run them with. */
export const programs = {
  agent: join(projectRoot, 'dist/sigilwatch-agent.js'),
  collector: join(projectRoot, 'dist/sigilwatch-collector.js'),
  executor: join(projectRoot, 'dist/sigilwatch-executor.cjs'),
} as const;

const startDeadlineMs = 60_000;
const stopDeadlineMs = 40_000;
const lookAgainMs = 10;
const keptLines = 5_000;
const shownLines = 12;

export interface ProgramOptions {
  /** For messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child process whose output is kept. */
export interface Program {
  readonly pid: number;
  /** How it ended; undefined while it runs. */
  readonly exit: Exit | undefined;
  /** Lines of both outputs, the last few thousand. */
  logs(): readonly string[];
  /**
   * The first value that `pick` finds in a line, past or to come.
   * @throws when the program ends or the deadline passes first, with the last lines
   */
  find<T>(what: string, pick: (line: string) => T | undefined, deadlineMs?: number): Promise<T>;
  /** Writes one line to its input. */
  send(line: string): void;
  /** SIGTERM, and waits. @throws when it has to be killed, or ends with another code than 0. */
  stop(): Promise<void>;
  kill9(): Promise<void>;
}

/**
 * Starts a program in a process group of its own, so that Ctrl-C is for us alone, and takes care that it does not
 * outlive us.
 * @throws when it cannot be started
 */
export function startProgram(options: ProgramOptions): Program {
  const { name } = options;
  const output = keepOutput();
  const child = spawnProgram(options, ['pipe', output.file, output.file]);
  const { pid } = child;
  if (pid === undefined) {
    output.close();
    throw new Error(`${name}: ${options.command} cannot be started (is it built?)`);
  }
  let exit: Exit | undefined;
  const ended = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => {
      exit = { code, signal };
      output.close();
      forget();
      resolve(exit);
    });
  });
  const end = async (): Promise<Exit> => {
    if (exit === undefined) child.kill('SIGTERM');
    return within(ended, stopDeadlineMs, () => child.kill('SIGKILL'));
  };
  const stop = async () => {
    if (exit !== undefined) return;
    const { code, signal } = await end();
    if (code !== 0) throw failure(`${name} ended with ${signal ?? code} when it was stopped`, output.lines());
  };
  const kill9 = async () => {
    if (exit === undefined) child.kill('SIGKILL');
    await ended;
  };
  // Somebody who interrupts us while it starts does not care how it ends, only that it does.
  const remove = async () => {
    if ((await end()).signal === 'SIGKILL') throw failure(`${name} had to be killed`, output.lines());
  };
  const forget = takeCareOf({ remove, removeNow: () => child.kill('SIGKILL') });
  return {
    pid,
    get exit() {
      return exit;
    },
    logs: output.lines,
    find: (what, pick, deadlineMs = startDeadlineMs) =>
      find({ what: `${name}: ${what}`, pick, deadlineMs, lines: output.lines, exit: () => exit }),
    send: (line) => void child.stdin?.write(`${line}\n`),
    stop,
    kill9,
  };
}

export interface Finished {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. @throws when it does not end within a minute. */
export async function runCommand(options: ProgramOptions): Promise<Finished> {
  const child = spawnProgram(options, 'pipe');
  const forget = takeCareOf({ remove: async () => void child.kill('SIGKILL'), removeNow: () => child.kill('SIGKILL') });
  child.stdin.end();
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const code = await within(closed, startDeadlineMs, () => child.kill('SIGKILL'));
  forget();
  if (code === null) throw failure(`${options.name} did not end by itself`, `${stdout}${stderr}`.split('\n'));
  return { exitCode: code, stdout, stderr };
}

/** A line of JSON as an object; undefined for any other line. */
export function jsonLine(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : undefined;
  } catch {
    return undefined;
  }
}

type Piped = ChildProcessByStdio<Writable, Readable, Readable>;

function spawnProgram(options: ProgramOptions, stdio: 'pipe'): Piped;
function spawnProgram(options: ProgramOptions, stdio: ['pipe', number, number]): ChildProcess;
function spawnProgram({ command, args, env = {} }: ProgramOptions, stdio: 'pipe' | ['pipe', number, number]) {
  const [file = command, ...prefix] = [...dyingWithUs(), command];
  const surrounded = { ...surroundings(), ...env };
  const child = spawn(file, [...prefix, ...args], { cwd: projectRoot, env: surrounded, detached: true, stdio });
  child.on('error', () => {});
  // A program that ends does not read what was meant for it.
  child.stdin?.on('error', () => {});
  return child;
}

/** Should we be killed without a chance to clean up, the kernel stops what we started. */
function dyingWithUs(): readonly string[] {
  const setpriv = '/usr/bin/setpriv';
  return process.platform === 'linux' && existsSync(setpriv) ? [setpriv, '--pdeathsig', 'TERM', '--'] : [];
}

/** Our environment without any setting of ours; programs run under the same Node.js as we. */
function surroundings(): NodeJS.ProcessEnv {
  const ours = /^(SIGILWATCH_|DATABASE_URL|NOTIFY_SOCKET|NODE_OPTIONS|NODE_TEST_CONTEXT)/;
  const kept = Object.entries(process.env).filter(([name]) => !ours.test(name));
  return { ...Object.fromEntries(kept), PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
}

/**
 * Output goes to a file, not a pipe: a program whose reader was killed must still be able to say goodbye and end in order.
 * The file has no name any more, so nothing has to remove it.
 */
function keepOutput() {
  const path = join(tmpdir(), `sgw-output-${randomUUID()}`);
  const file = openSync(path, 'ax+', 0o600);
  rmSync(path);
  const decoder = new StringDecoder('utf8');
  const chunk = Buffer.alloc(64 * 1024);
  let kept: string[] = [];
  let rest = '';
  let position = 0;
  let open = true;
  const lines = (): readonly string[] => {
    for (let bytes = -1; open && bytes !== 0; position += bytes) {
      bytes = readSync(file, chunk, 0, chunk.length, position);
      const [first = '', ...more] = decoder.write(chunk.subarray(0, bytes)).split('\n');
      const whole = [rest + first, ...more];
      rest = whole.pop() ?? '';
      kept = [...kept, ...whole].slice(-keptLines);
    }
    return kept;
  };
  const close = () => {
    lines();
    open = false;
    closeSync(file);
  };
  return { file, lines, close };
}

interface Search<T> {
  readonly what: string;
  readonly pick: (line: string) => T | undefined;
  readonly deadlineMs: number;
  readonly lines: () => readonly string[];
  readonly exit: () => Exit | undefined;
}

async function find<T>({ what, pick, deadlineMs, lines, exit }: Search<T>): Promise<T> {
  const giveUpAt = performance.now() + deadlineMs;
  for (;;) {
    const ended = exit();
    for (const line of lines()) {
      const found = pick(line);
      if (found !== undefined) return found;
    }
    if (ended !== undefined) throw failure(`${what}: the program ended with ${ended.signal ?? ended.code}`, lines());
    if (performance.now() > giveUpAt) throw failure(`${what}: not within ${deadlineMs} ms`, lines());
    await delay(lookAgainMs);
  }
}

/** `work`, and `late` when it takes longer than allowed; `late` must make it end. */
async function within<T>(work: Promise<T>, deadlineMs: number, late: () => void): Promise<T> {
  const timer = setTimeout(late, deadlineMs);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

function failure(message: string, lines: readonly string[]): Error {
  const last = lines.slice(-shownLines).map((line) => `  ${line.slice(0, 1_000)}`);
  return new Error(`${message}; its last lines:\n${last.join('\n') || '  (none)'}`);
}

/** Runs a command of the system to its end, for its output. @throws when it fails, with what it said. */
export function runTool(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', env });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
}
