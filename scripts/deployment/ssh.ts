import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { DeploymentError } from './failure.ts';
import type { Machine } from './machine.ts';

export interface SshSettings {
  readonly identity: string | undefined;
  readonly sshOptions: readonly string[];
}

/** What a script reads: a text, or a file. Nothing by default. */
export type Input = { readonly text: string } | { readonly file: string };

/** A machine that scripts of POSIX sh can be run on, as root. */
export interface Remote {
  readonly machine: Machine;
  /**
   * Secrets go by `input`: the script itself is seen in the list of processes there.
   * @returns what the script wrote to standard output
   * @throws DeploymentError with what it wrote to standard error, when it ends with another code than 0 or takes too long
   */
  run(script: string, input?: Input): Promise<string>;
}

/** A copy over a slow line is the longest. */
const scriptTimeoutMs = 15 * 60_000;
const maxSaidChars = 2_000;

export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Root by itself, or by sudo without a password. */
export function asRoot(script: string): string {
  const whole = quoted(`set -eu\n${script}`);
  return `if [ "$(id -u)" = 0 ]; then exec sh -c ${whole}; else exec sudo -n sh -c ${whole}; fi`;
}

export function sshArguments({ user, host, port }: Machine, { identity, sshOptions }: SshSettings): string[] {
  // What was said on the command line counts: ssh takes the first of each.
  const options = [...sshOptions, 'BatchMode=yes', 'ConnectTimeout=15', 'ServerAliveInterval=15'];
  return [
    ...options.flatMap((option) => ['-o', option]),
    ...(identity === undefined ? [] : ['-i', identity]),
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...['-T', '--', user === undefined ? host : `${user}@${host}`],
  ];
}

export function connect(machine: Machine, settings: SshSettings): Remote {
  const base = sshArguments(machine, settings);
  return { machine, run: (script, input) => runOver([...base, `sh -c ${quoted(asRoot(script))}`], input) };
}

async function runOver(args: readonly string[], input: Input | undefined): Promise<string> {
  const child = spawn('ssh', args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: scriptTimeoutMs });
  const ended = new Promise<number | string>((resolve, reject) => {
    child.once('error', (cause) => reject(new DeploymentError(`ssh cannot be run: ${cause.message}`, { cause })));
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'no code'));
  });
  // A script that ends before it has read everything says why by its code.
  const sent = send(child.stdin, input).catch(() => undefined);
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), ended, sent]);
  if (code === 0) return stdout;
  const said = stderr.trim().slice(-maxSaidChars);
  throw new DeploymentError(said === '' ? `a script on the machine ended with ${code}` : said);
}

async function send(to: NodeJS.WritableStream, input: Input | undefined): Promise<void> {
  if (input === undefined) to.end();
  else if ('text' in input) to.end(input.text);
  else await pipeline(createReadStream(input.file), to);
}
