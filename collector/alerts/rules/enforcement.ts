import { counted, named } from '../named.ts';
import type { Rule } from './rule.ts';

const failed: Rule = {
  name: 'enforcement.failed',
  conditions: ({ failedOrders }) =>
    failedOrders.map(({ node, count, containers }) => ({
      ...{ key: `enforcement.failed/${node}`, severity: 'error', node },
      summary: `on ${node}, ${counted(count, 'a drift stands whose order', 'drifts stand whose orders')} failed, ${count === 1 ? 'was' : 'were'} refused or did not last: ${named(containers, count)}`,
    })),
};

const waiting: Rule = {
  name: 'enforcement.waiting',
  conditions: ({ waitingOrders }) =>
    waitingOrders.map(({ node, count, containers }) => ({
      ...{ key: `enforcement.waiting/${node}`, severity: 'warning', node },
      summary: `${counted(count, 'an order', 'orders')} to ${node} ${count === 1 ? 'waits' : 'wait'} for approvals, and will expire without: ${named(containers, count)}`,
    })),
};

export const enforcementRules: readonly Rule[] = [failed, waiting];
