import type { AlertKey } from '../catalog.ts';
import type { Losses } from './facts.ts';
import type { Condition, Moment, Rule } from './rule.ts';

/** What was dropped is lost for good; a gap is only time that nobody watched, of which short ones are the price of a restart. */
export const coverageRules: readonly Rule[] = [
  {
    name: 'coverage.lost',
    conditions: ({ losses }, moment) => losses.flatMap((loss) => lost(loss, moment)),
  },
];

function lost({ node, gaps, gapMs, dropped, recovered }: Losses, { settings }: Moment): readonly Condition[] {
  const key: AlertKey = `coverage.lost/${node}`;
  if (dropped > 0) {
    const summary = `the outbox of ${node} was full, and what its agent saw was dropped (outbox.dropped says how much)`;
    return [{ key, severity: 'error', summary, node }];
  }
  if (recovered > 0) {
    const summary = `the outbox of ${node} was damaged and built anew (outbox.recovered says what was kept and what is missing)`;
    return [{ key, severity: 'error', summary, node }];
  }
  if (gaps === 0 || gapMs < settings.gapMs) return [];
  const minutes = Math.max(1, Math.round(gapMs / 60_000));
  const summary = `${node} was not watched for ${minutes} min in all (coverage.gap says when and why)`;
  return [{ key, severity: 'warning', summary, node }];
}
