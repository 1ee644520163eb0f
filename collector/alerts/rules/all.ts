import { coverageRules } from './coverage.ts';
import { diskRules } from './disk.ts';
import { driftRules } from './drift.ts';
import { enforcementRules } from './enforcement.ts';
import { integrityRules } from './integrity.ts';
import { jobRules } from './jobs.ts';
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
  ...jobRules,
  ...notificationRules,
  ...diskRules,
];
