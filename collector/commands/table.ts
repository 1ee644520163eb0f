import { styleText } from 'node:util';
import { printable } from '../../common/printable.ts';
import type { CommandContext } from './context.ts';

/** Rows that come piece by piece. */
export interface Table {
  /** Some rows as lines; the heading is before the first of them. */
  lines(rows: readonly (readonly string[])[]): string;
}

/**
 * On a terminal columns under their headings, as wide as what was in them so far; else one row a line with tabs between the
 * cells and no headings, so that `cut` and `while read` do.
 */
export function createTable(
  { stdout, env }: Pick<CommandContext, 'stdout' | 'env'>,
  heading: readonly string[],
): Table {
  if (stdout.isTTY !== true) {
    return { lines: (rows) => rows.map((row) => `${row.map(printable).join('\t')}\n`).join('') };
  }
  const styled = takesStyle(env);
  const widths: number[] = [];
  let headed = false;
  return {
    lines: (rows) => {
      const cells = (headed ? rows : [heading, ...rows]).map((row) => row.map(printable));
      const lines = aligned(cells, widths).map((line, row) => {
        if (!styled) return line;
        return !headed && row === 0 ? inStyle('bold', line) : withSeverity(line, cells[row]?.[0]);
      });
      headed = true;
      return `${lines.join('\n')}\n`;
    },
  };
}

/** Whether a terminal is to be sent more than text (https://no-color.org). */
function takesStyle({ NO_COLOR, TERM }: CommandContext['env']): boolean {
  return (NO_COLOR ?? '') === '' && TERM !== 'dumb';
}

const severityStyles: ReadonlyMap<string, 'red' | 'yellow'> = new Map([
  ['critical', 'red'],
  ['error', 'red'],
  ['warning', 'yellow'],
]);

/** Tables of alerts begin with how bad each is. */
function withSeverity(line: string, first = ''): string {
  const style = severityStyles.get(first);
  return style === undefined ? line : inStyle(style, first) + line.slice(first.length);
}

/** By our own look at stream and environment, not that of Node.js. */
function inStyle(style: 'bold' | 'red' | 'yellow', text: string): string {
  return styleText(style, text, { validateStream: false });
}

/** Rows as columns of equal width, two spaces apart. */
export function formatTable(cells: readonly (readonly string[])[]): string {
  return aligned(
    cells.map((row) => row.map(printable)),
    [],
  )
    .map((line) => `${line}\n`)
    .join('');
}

/** @param widths of the columns so far; they grow. */
function aligned(rows: readonly (readonly string[])[], widths: number[]): readonly string[] {
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  return rows.map((row) => {
    return row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  });
}
