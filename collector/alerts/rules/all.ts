import type { Severity } from '../alert.ts';
import { coverageRules } from './coverage.ts';
import { diskRules } from './disk.ts';
import { driftRules } from './drift.ts';
import { enforcementRules } from './enforcement.ts';
import { integrityRules } from './integrity.ts';
import { nodeRules } from './node.ts';
import { notificationRules } from './notifications.ts';
import type { Rule } from './rule.ts';
import { storeRules } from './stores.ts';
import { witnessRules } from './witness.ts';

/** Every condition that is looked at. */
export const rules: readonly Rule[] = [
  ...nodeRules,
  ...storeRules,
  ...driftRules,
  ...coverageRules,
  ...witnessRules,
  ...enforcementRules,
  ...integrityRules,
  ...notificationRules,
  ...diskRules,
];

/** What the planner of orders raises by itself (`collector/enforcement`). */
const plannerAlerts: readonly Omit<Rule, 'conditions'>[] = [
  {
    ...{ name: 'enforcement.frozen', severities: ['critical'] },
    title: 'A commit is frozen',
  },
  {
    ...{ name: 'enforcement.daily_limit', severities: ['error'] },
    title: 'The daily limit holds up answers',
  },
  {
    ...{ name: 'enforcement.exhausted', severities: ['error'] },
    title: 'Orders came to nothing too often',
  },
];

/** An alert that can be raised. */
export interface KnownAlert {
  readonly name: string;
  /** The worst last. */
  readonly severities: readonly Severity[];
  readonly title: string;
}

/** Every alert that a collector can raise. A test holds the documentation equal to it. */
export const knownAlerts: readonly KnownAlert[] = [...plannerAlerts, ...rules];
