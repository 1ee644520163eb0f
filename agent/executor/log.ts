import { rfc3339 } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';

export type LogValue = string | number | null | undefined;

/** Writes one line of JSON for what happened, in the form of the other programs' logs. */
export type Log = (
  level: 'info' | 'warn' | 'error',
  event: string,
  fields?: Readonly<Record<string, LogValue>>,
) => void;

/** @param write takes one line with its end */
export function lineLog(write: (line: string) => void, now: () => number): Log {
  return (level, event, fields = {}) => {
    write(`${JSON.stringify({ level, time: rfc3339(now()), program: 'executor', event, ...fields })}\n`);
  };
}

/**
 * The log for refusals, which clients cause as often as they like: so many lines a second, then one that says how many are
 * missing. They are counted all the same.
 */
export function limitedLog(log: Log, now: () => number): Log {
  let second = 0;
  let lines = 0;
  return (level, event, fields) => {
    const current = Math.floor(now() / 1_000);
    if (current !== second) {
      const missing = lines - limits.executorMaxRefusalLinesPerSecond;
      if (missing > 0) log('warn', 'executor.lines_left_out', { lines: missing });
      [second, lines] = [current, 0];
    }
    if (++lines <= limits.executorMaxRefusalLinesPerSecond) log(level, event, fields);
  };
}
