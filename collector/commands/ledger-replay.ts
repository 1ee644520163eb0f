import { amount } from '../../common/amount.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { printable } from '../../common/printable.ts';
import { applicationName } from '../database.ts';
import {
  checkProjections,
  matches,
  type RowDifference,
  repairProjections,
  type TableComparison,
} from '../ledger/replay.ts';
import { postgresReplays } from '../postgres/replay-store.ts';
import { type CommandContext, show, withCollectorData } from './context.ts';
import { type Contradicted, contradictedField, contradictionOf } from './contradicted.ts';
import { progressBar, untilStopped } from './progress.ts';
import { formatTable } from './table.ts';

export interface ReplayOptions {
  readonly check?: boolean;
}

interface ReplayResult {
  readonly matches: boolean;
  readonly repaired: boolean;
  readonly size: number;
  /** Where rebuilding began: at 0, or where the last erasure ended. */
  readonly from: number;
  readonly seconds: number;
  readonly tables: readonly TableComparison[];
  /** Projections may be what the entries say, and the entries not those that were published. */
  readonly contradicted?: Contradicted;
}

/** Rebuilds the projections from the entries: to compare them with the stored ones, or to repair those. */
export async function ledgerReplay(context: CommandContext, { check = false }: ReplayOptions): Promise<number> {
  const result = await withCollectorData(context, async (data): Promise<ReplayResult> => {
    const { database, keys } = data;
    const contradicted = await contradictionOf(context, data);
    const replays = postgresReplays({ url: database.url, applicationName });
    const bar = progressBar(context.stderr, 'entries');
    const needs = { collectorKey: keys.publicKey, onProgress: untilStopped(context, bar) };
    const startedMs = performance.now();
    const report = await (check ? checkProjections : repairProjections)(replays, needs).finally(() => bar(1, 1));
    const same = matches(report.tables);
    const seconds = Math.round(performance.now() - startedMs) / 1000;
    return { matches: same, repaired: !same && !check, ...report, seconds, ...contradictedField(contradicted) };
  });
  show(context, result, formatResult);
  const found = result.contradicted !== undefined || (check && !result.matches);
  return found ? exitCodes.findings : exitCodes.done;
}

function formatResult(result: ReplayResult): string {
  const { size, from, seconds, tables } = result;
  const rate = seconds > 0 ? `, ${Math.round((size - from) / seconds)}/s` : '';
  const begun = from === 0 ? '' : `, on what was kept when the first ${from} were erased`;
  const counts = tables.map((it) => [it.table, String(it.stored), String(it.rebuilt), String(it.differing)]);
  return [
    `${verdict(result)}\n`,
    `rebuilt from ${amount(size - from, 'entry', 'entries')}${begun} (${seconds} s${rate})\n`,
    formatTable([['PROJECTION', 'STORED', 'REBUILT', 'DIFFERING'], ...counts]),
    ...tables.filter(({ differing }) => differing > 0).map(formatDifferences),
  ].join('');
}

function verdict({ matches: same, repaired }: ReplayResult): string {
  if (same) return 'in order: the projections are what the entries say';
  if (repaired) return 'repaired: projections that were not what the entries say were replaced';
  return 'NOT IN ORDER: projections are not what the entries say; "ledger replay" without --check repairs them';
}

function formatDifferences({ table, differing, rows }: TableComparison): string {
  const more = differing > rows.length ? `  and ${differing - rows.length} more rows of ${table}\n` : '';
  return `${rows.map((row) => formatRow(table, row)).join('')}${more}`;
}

function formatRow(table: string, { problem, key, index, columns }: RowDifference): string {
  const where = index === null ? '' : ` (entry ${index})`;
  const named = Object.entries(key).map(([column, value]) => `${column}=${shownCell(value)}`);
  const changes = columns.map(
    ({ column, stored, rebuilt }) =>
      `    ${column}: stored ${shownCell(stored)}, by the entries ${shownCell(rebuilt)}\n`,
  );
  return `  ${table} ${named.join(' ')} is ${problem}${where}\n${changes.join('')}`;
}

const shownChars = 200;

/** Values come from nodes: whatever they hold, it stays one line and moves no cursor. */
export function shownCell(value: string | null): string {
  if (value === null) return 'null';
  return printable(value.length > shownChars ? `${value.slice(0, shownChars)}...` : value);
}
