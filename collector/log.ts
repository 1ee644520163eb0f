import pino from 'pino';
import type { Clock } from '../common/clock.ts';
import { type Logger, type LogLevel, loggerOver, logOptions, prettyLogOptions } from '../common/log.ts';

/** Logs to stdout: JSON lines, or readable ones when a person watches. Written at once, so a crash loses none. */
export async function stdoutLogger(level: LogLevel, clock: Clock): Promise<Logger> {
  const lines = process.stdout.isTTY ? await prettyStream() : pino.destination({ dest: 1, sync: true });
  return loggerOver(pino(logOptions('collector', level, clock), lines));
}

async function prettyStream() {
  const { default: pretty } = await import('pino-pretty');
  return pretty(prettyLogOptions);
}
