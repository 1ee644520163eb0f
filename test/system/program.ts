import { type ChildProcess, type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { takeCareOf } from './leftovers.ts';
import { type Exit, failure, find, keepOutput, type Output } from './output.ts';
import { asServices, type ShippedUnit, type StartedProgram, startService } from './service.ts';

export const projectRoot = join(import.meta.dirname, '../..');

/** Programs of one build, run as files: their first line holds the options that users run them with. */
export interface Programs {
  readonly agent: string;
  readonly collector: string;
  readonly executor: string;
}

/** What a build has put into `dist/` of a checkout. */
export function programsIn(root: string): Programs {
  return {
    agent: join(root, 'dist/sigilwatch-agent.js'),
    collector: join(root, 'dist/sigilwatch-collector.js'),
    executor: join(root, 'dist/sigilwatch-executor.cjs'),
  };
}

/** Of this checkout. */
export const programs = programsIn(projectRoot);

const startDeadlineMs = 60_000;
const stopDeadlineMs = 40_000;

export interface ProgramOptions {
  /** For messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Who runs it where programs run as services; whoever we are without. For commands. */
  readonly user?: { readonly name: string; readonly groups: readonly string[] };
  /** What it runs under where programs run as services; it is a child process without. A command's is one that ends by itself. */
  readonly unit?: ShippedUnit;
  /** How long a command may take, milliseconds; a minute without. */
  readonly deadlineMs?: number;
}

/** A running program whose output is kept: a child process, or a service. */
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
  const { name, unit } = options;
  const output = keepOutput();
  const started = asServices && unit !== undefined ? startService(options, unit, output) : startChild(options, output);
  let exit: Exit | undefined;
  const ended = started.ended.then((how) => {
    exit = how;
    output.close();
    forget();
    return how;
  });
  const end = async (): Promise<Exit> => {
    if (exit === undefined) started.end();
    return within(ended, stopDeadlineMs, started.kill);
  };
  const stop = async () => {
    if (exit !== undefined) return;
    const { code, signal } = await end();
    if (code !== 0) throw failure(`${name} ended with ${signal ?? code} when it was stopped`, output.lines());
  };
  const kill9 = async () => {
    if (exit === undefined) started.kill();
    await ended;
  };
  // Somebody who interrupts us while it starts does not care how it ends, only that it does.
  const remove = async () => {
    if ((await end()).signal === 'SIGKILL') throw failure(`${name} had to be killed`, output.lines());
  };
  const forget = takeCareOf({ remove, removeNow: started.kill });
  return {
    pid: started.pid,
    get exit() {
      return exit;
    },
    logs: output.lines,
    find: (what, pick, deadlineMs = startDeadlineMs) =>
      find({ what: `${name}: ${what}`, pick, deadlineMs, lines: output.lines, exit: () => exit }),
    send: started.send,
    stop,
    kill9,
  };
}

function startChild(options: ProgramOptions, output: Output): StartedProgram {
  const child = spawnProgram(options, ['pipe', output.file, output.file]);
  const { pid } = child;
  if (pid === undefined) {
    output.close();
    throw new Error(`${options.name}: ${options.command} cannot be started (is it built?)`);
  }
  return {
    pid,
    ended: new Promise<Exit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal }))),
    end: () => child.kill('SIGTERM'),
    kill: () => child.kill('SIGKILL'),
    send: (line) => child.stdin?.write(`${line}\n`),
  };
}

export interface Finished {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. Of a service, both outputs are told as the standard one. @throws when it does not end within a minute. */
export async function runCommand(options: ProgramOptions): Promise<Finished> {
  if (asServices && options.unit !== undefined) return runService(options, options.unit);
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
  const code = await within(closed, options.deadlineMs ?? startDeadlineMs, () => child.kill('SIGKILL'));
  forget();
  if (code === null) throw failure(`${options.name} did not end by itself`, `${stdout}${stderr}`.split('\n'));
  return { exitCode: code, stdout, stderr };
}

async function runService(options: ProgramOptions, unit: ShippedUnit): Promise<Finished> {
  const output = keepOutput();
  const { ended, kill } = startService(options, unit, output);
  const forget = takeCareOf({ remove: async () => kill(), removeNow: kill });
  const { code } = await within(ended, startDeadlineMs, kill);
  output.close();
  forget();
  if (code === null) throw failure(`${options.name} did not end by itself`, output.lines());
  return { exitCode: code, stdout: output.lines().join('\n'), stderr: '' };
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
function spawnProgram({ command, args, env = {}, user }: ProgramOptions, stdio: 'pipe' | ['pipe', number, number]) {
  const theirs = asServices && user !== undefined;
  const [file = command, ...prefix] = [...(theirs ? actingAs(user, env) : dyingWithUs()), command];
  const surrounded = { ...surroundings(), ...(theirs ? {} : env) };
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

/**
 * The user of a unit, with the groups that the unit gives it. As `runuser`, but the same process. What the program is to find in its
 * environment is said after that: a library in `LD_PRELOAD` would be at work as us first, and leave things of ours to a program that may
 * not open them.
 */
function actingAs({ name, groups }: NonNullable<ProgramOptions['user']>, env: Readonly<Record<string, string>>) {
  const user = ['setpriv', `--reuid=${name}`, `--regid=${name}`, `--groups=${[name, ...groups].join(',')}`, '--'];
  // Where we may make files, or have settings of ours, somebody else may not even look.
  const surroundings = Object.entries({ TMPDIR: '/tmp', HOME: '/', ...env }).map((pair) => pair.join('='));
  return [...user, ...dyingWithUs(), 'env', ...surroundings];
}

/** Our environment without any setting of ours; programs run under the same Node.js as we. */
function surroundings(): NodeJS.ProcessEnv {
  const ours = /^(SIGILWATCH_|DATABASE_URL|NOTIFY_SOCKET|NODE_OPTIONS|NODE_TEST_CONTEXT)/;
  const kept = Object.entries(process.env).filter(([name]) => !ours.test(name));
  return { ...Object.fromEntries(kept), PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
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

/** Runs a command of the system to its end, for its output. @throws when it fails, with what it said. */
export function runTool(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  cwd = process.cwd(),
): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', env, cwd });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
}
