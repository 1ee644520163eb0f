import { AppError } from '../../common/errors.ts';
import type { CommandContext, CommandOutput } from './context.ts';

const barCells = 24;
/** A terminal is told no more often than this. */
const redrawMs = 100;
const lineEveryMs = 10_000;

/** Told how far something has come; nothing is written where nobody watches. */
export type Progress = (done: number, of: number) => void;

/**
 * One line that redraws itself on a terminal, with share, count, rate and time left, and is gone at the end. Share and
 * time left are not told where nobody knows how much there is, which is `Infinity`.
 * @param already what was done before, by somebody else.
 */
export function progressBar(stderr: CommandOutput, unit: string, already = 0): Progress {
  if (stderr.isTTY !== true) return () => {};
  const startedMs = performance.now();
  let drawnMs = Number.NEGATIVE_INFINITY;
  return (done, of) => {
    const nowMs = performance.now();
    if (done >= of) return void stderr.write('\r\u001b[K');
    if (nowMs - drawnMs < redrawMs) return;
    drawnMs = nowMs;
    const rate = Math.round((done - already) / ((nowMs - startedMs) / 1000));
    if (of === Number.POSITIVE_INFINITY) return void stderr.write(`\r\u001b[K${done} ${unit}, ${rate}/s`);
    const left = rate === 0 ? '' : `, ${duration((of - done) / rate)} left`;
    stderr.write(`\r\u001b[K${bar(done / of)} ${done} of ${of} ${unit}, ${rate}/s${left}`);
  };
}

function bar(share: number): string {
  const full = Math.floor(share * barCells);
  return `[${'='.repeat(full)}${' '.repeat(barCells - full)}] ${String(Math.floor(share * 100)).padStart(3)}%`;
}

function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** As `progress`, and ends the work by an error once the program was asked to stop. */
export function untilStopped({ stopRequested }: Pick<CommandContext, 'stopRequested'>, progress: Progress): Progress {
  let reason: string | undefined;
  void stopRequested.then((signal) => {
    reason = signal;
  });
  return (done, of) => {
    progress(done, of);
    if (reason !== undefined) throw new AppError('state.conflict', `stopped by ${reason}; nothing was changed`);
  };
}

/** A line of its own now and then, for a log. @param already what was done before, by somebody else. */
export function progressLines(stderr: CommandOutput, unit: string, already = 0): Progress {
  const startedMs = performance.now();
  let saidMs = startedMs;
  return (done, of) => {
    const nowMs = performance.now();
    if (done >= of || nowMs - saidMs < lineEveryMs) return;
    saidMs = nowMs;
    const rate = Math.round((done - already) / ((nowMs - startedMs) / 1000));
    const left = rate === 0 ? '' : `, ${duration((of - done) / rate)} left`;
    stderr.write(`${Math.floor((100 * done) / of)}%: ${done} of ${of} ${unit}, ${rate}/s${left}\n`);
  };
}
