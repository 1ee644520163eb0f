import type { CommandOutput } from './context.ts';

const barCells = 24;
/** A terminal is told no more often than this. */
const redrawMs = 100;

/** One line that redraws itself, with share, count and rate. */
export interface ProgressLine {
  report(done: number, of: number): void;
  /** Takes the line away. */
  end(): void;
}

/** Nothing is written where nobody watches: to a file or a pipe. */
export function progressLine(stderr: CommandOutput, unit: string): ProgressLine {
  if (stderr.isTTY !== true) return { report: () => {}, end: () => {} };
  const startedMs = performance.now();
  let drawnMs = Number.NEGATIVE_INFINITY;
  return {
    report: (done, of) => {
      const nowMs = performance.now();
      if (nowMs - drawnMs < redrawMs) return;
      drawnMs = nowMs;
      const rate = Math.round(done / ((nowMs - startedMs) / 1000));
      stderr.write(`\r\u001b[K${bar(of === 0 ? 1 : done / of)} ${done} of ${of} ${unit}, ${rate}/s`);
    },
    end: () => {
      stderr.write('\r\u001b[K');
    },
  };
}

function bar(share: number): string {
  const full = Math.floor(Math.min(share, 1) * barCells);
  return `[${'='.repeat(full)}${' '.repeat(barCells - full)}] ${String(Math.floor(share * 100)).padStart(3)}%`;
}
