import { limits } from '../../../common/limits.ts';
import type { AlertKey } from '../catalog.ts';
import type { NodeFacts, ReportFacts } from './facts.ts';
import type { Condition, Moment, Rule } from './rule.ts';

/**
 * Whether nobody hears the node any more, and it could have been heard; one that was silent before is until it is heard. Of one that is
 * silent nothing else is known: what stood goes on standing.
 */
export function isSilent({ node, heardAtMs }: NodeFacts, { nowMs, sinceMs, standing }: Moment): boolean {
  // By a clock that was set back since: what it has yet to reach again must not be waited for.
  const isLongAgo = nowMs - heardAtMs >= limits.alertNodeSilentMs || heardAtMs - nowMs > limits.clockSuspectMs;
  return isLongAgo && (nowMs - sinceMs >= limits.alertNodeSilentMs || standing.has(silentKey(node)));
}

const silentKey = (node: string): AlertKey => `node.silent/${node}`;

const silent: Rule = {
  name: 'node.silent',
  conditions: ({ nodes }, moment) =>
    nodes
      .filter((facts) => isSilent(facts, moment))
      .map(({ node }) => ({
        ...{ key: silentKey(node), severity: 'error', node },
        summary: `${node} is not heard any more, so nothing that happens there is known: its agent, the network or the machine is down`,
      })),
};

function covered(
  coverage: ReportFacts['coverage'],
  { name, severity }: Pick<Rule, 'name'> & Pick<Condition, 'severity'>,
  tell: (node: string) => string,
): Rule {
  return {
    name,
    conditions: ({ nodes }) =>
      nodes
        .filter(({ report }) => report?.coverage === coverage)
        .map(({ node }) => ({ key: `${name}/${node}`, severity, summary: tell(node), node })),
  };
}

export const nodeRules: readonly Rule[] = [
  silent,
  covered(
    'engine-down',
    { name: 'engine.down', severity: 'error' },
    (node) => `the container engine of ${node} does not answer its agent: what runs there is not known`,
  ),
  covered(
    'clock-suspect',
    { name: 'clock.suspect', severity: 'warning' },
    (node) => `the clock of ${node} was set or runs wrong: what its agent says of times is in doubt`,
  ),
];
