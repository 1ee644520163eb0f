import { amount } from '../../common/amount.ts';
import { driftKinds } from '../../common/drift-kind.ts';
import { limits } from '../../common/limits.ts';
import type { BacktestAction, BacktestHold, RuleTotals } from '../backtest/account.ts';
import type { BacktestResult } from '../backtest/backtest.ts';
import { shownCell } from './ledger-replay.ts';
import { formatTable } from './table.ts';

/** The result of a backtest for people. */
export function formatBacktest(result: BacktestResult): string {
  const { actions, alerts, held, rules, unjudged, gaps, cut } = result;
  return [
    headline(result),
    table('what would have been ordered', actionRows(actions)) || 'nothing would have been ordered\n',
    table('alerts', alerts.length === 0 ? [] : alerts.map(({ at, severity, summary }) => [at, severity, summary])),
    table('by rule', ruleRows(rules)),
    table('held', holdRows(held)),
    table(
      'configurations that could not be judged',
      unjudged.map(({ node, container, since_index, reason }) => [
        ...[node, shownCell(container)],
        ...[since_index === null ? 'from the beginning' : `from entry ${since_index}`, reason],
      ]),
    ),
    table(
      'not observed, and so not judged',
      gaps.map(({ node, from, to, reason }) => [node, from, to, reason]),
    ),
    ...(cut ? [`there was more: of each sort only the first ${limits.maxBacktestListed} are listed\n`] : []),
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function headline({ period, nodes, mode, erased }: BacktestResult): string {
  const { from, to, first_index, size } = period;
  const entries = size - first_index;
  const lines = [
    `${from} to ${to}: ${amount(entries, 'entry', 'entries')}, ${amount(nodes.length, 'node')}, mode ${mode}`,
    ...(erased === null
      ? []
      : [
          `NOT REPLAYED: the bodies of ${erased.entries} entries from ${erased.from} up to ${erased.to - 1} were erased; the period begins after them`,
        ]),
  ];
  return `${lines.join('\n')}\n`;
}

function table(title: string, rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  return `${title}\n${formatTable(rows).replace(/^/gm, '  ').trimEnd()}\n`;
}

function actionRows(actions: readonly BacktestAction[]): readonly (readonly string[])[] {
  return actions.map(({ at, node, action, container, reason, rule, drift_index, waits_for_approvals: waits }) => [
    ...[at, node, waits === 0 ? action : `${action}, would have waited for ${amount(waits, 'approval')}`],
    ...[shownCell(container), shownCell(reason), rule, entryOf(drift_index)],
  ]);
}

function holdRows(held: readonly BacktestHold[]): readonly (readonly string[])[] {
  return held.map(({ at, node, drift, container, held_by, reason, drift_index }) => [
    ...[at, node, drift, shownCell(container), held_by, shownCell(reason), entryOf(drift_index)],
  ]);
}

function entryOf(index: number | null): string {
  return index === null ? 'from the beginning' : `entry ${index}`;
}

function ruleRows(rules: readonly RuleTotals[]): readonly (readonly string[])[] {
  const sorted = driftKinds.flatMap((kind) => rules.filter(({ drift }) => drift === kind));
  const cells = sorted.map(({ rule, action, drifts, orders, waiting, held }) => [
    ...[rule, action ?? 'on record only', `${drifts}`, `${orders}`, `${waiting}`],
    Object.entries(held)
      .map(([code, count]) => `${code} ${count}`)
      .join(', '),
  ]);
  return [['RULE', 'ANSWER', 'DRIFTS', 'ORDERS', 'WAITING', 'HELD BY'], ...cells];
}
