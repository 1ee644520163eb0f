import { limits } from '../../../common/limits.ts';
import type { NodeFacts, ReportFacts } from './facts.ts';
import type { Condition, Moment, Rule } from './rule.ts';

/** Whether nobody hears the node any more. Of one that is silent nothing else is known: what stood goes on standing. */
export function isSilent({ heardAtMs }: NodeFacts, { nowMs, sinceMs }: Moment): boolean {
  return nowMs - Math.max(heardAtMs, sinceMs) >= limits.alertNodeSilentMs;
}

const silent: Rule = {
  name: 'node.silent',
  conditions: ({ nodes }, moment) =>
    nodes
      .filter((facts) => isSilent(facts, moment))
      .map(({ node }) => ({
        ...{ key: `node.silent/${node}`, severity: 'error', node },
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
