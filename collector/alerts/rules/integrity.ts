import type { AlertKey } from '../catalog.ts';
import type { Facts, LastIntegrityRun } from './facts.ts';
import { isSilent } from './node.ts';
import type { Moment, Rule } from './rule.ts';

const hourMs = 3_600_000;

const overdue: Rule = {
  name: 'integrity.overdue',
  conditions: (facts, moment) =>
    facts.integrityRuns
      .filter((run) => isOverdue(run, facts, moment))
      .map(({ node, receivedAtMs }) => ({
        ...{ key: overdueKey(node), severity: 'warning', node },
        summary: `the last integrity run of ${node} was reported ${Math.floor((moment.nowMs - receivedAtMs) / hourMs)} h ago`,
      })),
};

const overdueKey = (node: string): AlertKey => `integrity.overdue/${node}`;

/** Of a node that nobody hears, and before it could be heard, no more is known than was: its reports may wait in its outbox. */
function isOverdue({ node, receivedAtMs }: LastIntegrityRun, { nodes }: Facts, moment: Moment): boolean {
  if (moment.nowMs - receivedAtMs < moment.settings.integrityMs) return false;
  const facts = nodes.find((known) => known.node === node);
  const heardNow = facts !== undefined && facts.heardAtMs >= moment.sinceMs && !isSilent(facts, moment);
  return heardNow || moment.standing.has(overdueKey(node));
}

const unchecked: Rule = {
  name: 'integrity.unchecked',
  conditions: ({ integrityRuns }) =>
    integrityRuns
      .filter(({ status }) => status === 'unchecked')
      .map(({ node }) => ({
        ...{ key: `integrity.unchecked/${node}`, severity: 'warning', node },
        summary: `the last integrity run of ${node} could not check everything; its report says what ("sigilwatch-agent integrity reports" there)`,
      })),
};

export const integrityRules: readonly Rule[] = [overdue, unchecked];
