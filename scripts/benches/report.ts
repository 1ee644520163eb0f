import { cpus, loadavg } from 'node:os';
import type { BenchReport, Row } from './bench.ts';

/** The report for a person. */
export function formatReport({ title, rows, notes }: BenchReport): string {
  const cells = rows.map((row) => [row.what, shown(row.measured, row.unit), limitOf(row), verdictOf(row)]);
  const header = ['', 'measured', 'limit', ''];
  const widths = header.map((_, at) => Math.max(...[header, ...cells].map((line) => (line[at] ?? '').length)));
  const table = [header, ...cells].map((line) =>
    line.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('  '),
  );
  return `${[title, '', ...table, '', ...notes].map((line) => line.trimEnd()).join('\n')}\n`;
}

/** Whether every row that has a bound, above or below, keeps it. */
export function keepsLimits(rows: readonly Row[]): boolean {
  return rows.every(isKept);
}

/** Where the figures come from. */
export function machine() {
  const [oneMinute = 0] = loadavg();
  return { node: process.version, cpus: cpus().length, load: round(oneMinute, 1) };
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/**
 * The nearest-rank quantile: the smallest value that at least the share `q` of all values does not exceed.
 * @throws for no values
 */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
  if (value === undefined) throw new Error('nothing was measured');
  return value;
}

function isKept({ measured, limit = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY }: Row): boolean {
  return atLeast <= measured && measured <= limit;
}

function limitOf({ limit, atLeast, unit }: Row): string {
  const bounds = [...(atLeast === undefined ? [] : [`≥ ${atLeast}`]), ...(limit === undefined ? [] : [`≤ ${limit}`])];
  return bounds.length === 0 ? '' : `${bounds.join(', ')} ${unit}`;
}

function verdictOf(row: Row): string {
  if (row.limit === undefined && row.atLeast === undefined) return '';
  return isKept(row) ? 'kept' : 'MISSED';
}

function shown(value: number, unit: string): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ${unit}`;
}
