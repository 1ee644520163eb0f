import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { exitCodes } from '../common/exit-codes.ts';
import { flushed, lostOutput } from '../common/lost-output.ts';
import { runCli } from './cli.ts';
import { systemClock } from './clock.ts';
import type { AgentSettings } from './config.ts';

/** Runs until SIGTERM or SIGINT. What only the running agent needs is loaded here, not by the other commands. */
async function run(settings: AgentSettings): Promise<number> {
  const { stdoutLogger } = await import('./log.ts');
  const { systemdNotifier } = await import('./notify.ts');
  const { startAgent } = await import('./start.ts');
  const logger = await stdoutLogger(settings.log.level, systemClock);
  const notifier = systemdNotifier(process.env, logger);
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  const agent = await startAgent(settings, { clock: systemClock, random: Math.random, logger, notifier });
  logger.info('agent.serving', { url: agent.url });
  await stopped;
  await agent.stop();
  logger.info('agent.stopped');
  return exitCodes.done;
}

function onStop(stop: (signal: string) => void): () => void {
  const heard = (signal: string): void => {
    ignore();
    stop(signal);
  };
  const ignore = (): void => void process.off('SIGINT', heard).off('SIGTERM', heard);
  process.on('SIGINT', heard).on('SIGTERM', heard);
  return ignore;
}

process.stdout.on('error', (error) => {
  const { exitCode, message } = lostOutput(error);
  process.stderr.write(message);
  process.exit(exitCode ?? exitCodes.done);
});

async function confirm(question: string): Promise<boolean> {
  const { createInterface } = await import('node:readline/promises');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim());
  } finally {
    terminal.close();
  }
}

// What is left are the sockets of calls that a frozen engine never answered; they would hold us for seconds.
const exitCode = await runCli({
  argv: process.argv.slice(2),
  env: process.env,
  hostname: hostname().split('.')[0] ?? hostname(),
  readFile: (path) => readFileSync(path, 'utf8'),
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  terminal: process.stderr.isTTY === true,
  ...(process.stdin.isTTY === true && process.stderr.isTTY === true && { confirm }),
  onStop,
  run,
});
await flushed(process.stdout);
process.exit(exitCode);
