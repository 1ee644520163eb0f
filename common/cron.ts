import { Cron } from 'croner';
import { AppError } from './errors.ts';

/** When something is to happen again and again, in the local time of the machine. */
export interface CronSchedule {
  /** The first time after a moment, to the second; both Unix milliseconds. Undefined when there is none any more. */
  nextAfter(unixMs: number): number | undefined;
}

/**
 * Reads five fields of cron(5), or a name like `@daily`. A time that a change to summer time leaves out comes right after it, and one
 * that comes twice counts once.
 * @throws AppError `validation.config` for anything else, and for what never happens
 */
export function parseCron(text: string): CronSchedule {
  const refuse = (why: string, cause?: unknown) =>
    new AppError('validation.config', `${JSON.stringify(text)} is no schedule of cron: ${why}`, { cause });
  const cron = readPattern(text, refuse);
  const nextAfter = (unixMs: number) => cron.nextRun(new Date(unixMs))?.getTime();
  if (nextAfter(0) === undefined) throw refuse('it never happens');
  return { nextAfter };
}

export function isCron(text: string): boolean {
  try {
    parseCron(text);
    return true;
  } catch {
    return false;
  }
}

function readPattern(text: string, refuse: (why: string, cause?: unknown) => AppError): Cron {
  let cron: Cron;
  try {
    // Paused, and without anything to run: it only computes.
    cron = new Cron(text, { mode: '5-part', paused: true });
  } catch (cause) {
    throw refuse(cause instanceof Error ? cause.message : String(cause), cause);
  }
  // The library also takes a date, for something that happens once.
  if (cron.getPattern() === undefined) throw refuse('it is a date');
  return cron;
}
