import { limits } from '../../../common/limits.ts';
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

const ledgerOverdueKey: AlertKey = 'ledger.overdue/ledger';

/**
 * By what is on record alone, not by the schedule of this collector: of several, one may make the checks of all. Where nobody ever had any
 * made, none is missed.
 */
const ledgerOverdue: Rule = {
  name: 'ledger.overdue',
  conditions: ({ ledgerCheck: { endedAtMs, awaitedSinceMs } }, moment) => {
    const { nowMs, sinceMs, settings, standing } = moment;
    const fromMs = endedAtMs ?? awaitedSinceMs;
    // By a clock that was set back since: what it has yet to reach again must not be waited for.
    const isAhead = fromMs !== null && fromMs - nowMs > limits.clockSuspectMs;
    if (fromMs === null || (nowMs - fromMs < settings.ledgerCheckMs && !isAhead)) return [];
    // What was missed while nobody was there is made up first.
    if (nowMs - sinceMs < limits.alertLedgerCheckGraceMs && !standing.has(ledgerOverdueKey)) return [];
    const since = new Date(fromMs).toISOString();
    const missed =
      endedAtMs === null ? `ever come to an end, and one is awaited since ${since}` : `come to an end since ${since}`;
    const summary = `no check of the ledger has ${missed}: nobody has looked whether history was altered; "sigilwatch-collector integrity run" makes one`;
    return [{ key: ledgerOverdueKey, severity: 'error', summary, node: null }];
  },
};

export const integrityRules: readonly Rule[] = [overdue, unchecked, ledgerOverdue];
