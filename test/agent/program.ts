import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { runCli } from '../../agent/cli.ts';
import { fromSource } from '../from-source.ts';

const root = join(import.meta.dirname, '../..');

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one of the agent's commands in this process, with nothing of our environment; `run` is for {@link agentProgram}. */
export async function agentCommand(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  let [stdout, stderr] = ['', ''];
  const code = await runCli({
    argv: args,
    env,
    hostname: 'host',
    readFile: (path) => readFileSync(path, 'utf8'),
    stdout: (said) => {
      stdout += said;
    },
    stderr: (said) => {
      stderr += said;
    },
    terminal: false,
    run: () => Promise.reject(new Error('an agent does not run in here')),
  });
  return { code, stdout, stderr };
}

/**
 * Runs the agent's command line from source, as a process of its own, with nothing of our environment.
 * @param through a program that starts it, such as setpriv.
 */
export async function agentProgram(
  args: readonly string[],
  env: Record<string, string> = {},
  through?: { readonly program: string; readonly args: readonly string[] },
): Promise<Outcome> {
  const command = [process.execPath, ...fromSource(join(root, 'agent/main.ts')), ...args];
  const [program = process.execPath, ...rest] =
    through === undefined ? command : [through.program, ...through.args, ...command];
  const child = spawn(program, rest, {
    cwd: root,
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
  return { code, stdout, stderr };
}
