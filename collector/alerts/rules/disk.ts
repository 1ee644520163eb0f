import type { Severity } from '../alert.ts';
import type { AlertKey } from '../catalog.ts';
import type { NodeFacts } from './facts.ts';
import type { Condition, Moment, Rule } from './rule.ts';

/** What stands ends a little above where it begins: a disk at the brink is told of once. */
const easedPercent = 1;

export const diskRules: readonly Rule[] = [
  {
    name: 'disk.low',
    conditions: ({ nodes }, moment) => nodes.flatMap((facts) => low(facts, moment)),
  },
];

function low({ node, report }: NodeFacts, moment: Moment): readonly Condition[] {
  const disk = report?.disk ?? null;
  if (disk === null || disk.totalBytes === 0) return [];
  const key: AlertKey = `disk.low/${node}`;
  const percent = (disk.freeBytes / disk.totalBytes) * 100;
  const severity = severityAt(percent, moment, moment.standing.get(key));
  if (severity === undefined) return [];
  const free = `${Math.floor(disk.freeBytes / (1024 * 1024))} MiB (${percent.toFixed(1)} %)`;
  const summary = `on ${node}, ${free} are free where its agent keeps its data; once it is full, nothing that is seen there can be told`;
  return [{ key, severity, summary, node }];
}

function severityAt(
  percent: number,
  { settings: { diskWarningPercent, diskErrorPercent } }: Moment,
  before: Severity | undefined,
): Severity | undefined {
  const eased = (bound: number, stood: boolean) => bound + (stood ? easedPercent : 0);
  if (percent < eased(diskErrorPercent, before === 'error')) return 'error';
  return percent < eased(diskWarningPercent, before !== undefined) ? 'warning' : undefined;
}
