import type { AlertKey } from '../catalog.ts';
import { summaryOf } from '../named.ts';
import type { Rule } from './rule.ts';

const deadLettersKey = (action: string): AlertKey => `jobs.dead_letters/${action}`;

export const jobRules: readonly Rule[] = [
  {
    name: 'jobs.dead_letters',
    conditions: ({ deadJobs }) =>
      deadJobs.map(({ action, count }) => ({
        ...{ key: deadLettersKey(action), severity: 'error', node: null },
        summary: summaryOf(
          `${count === 1 ? 'an enforcement' : `${count} enforcements`} by ${action} failed for good, and nobody has looked at ${count === 1 ? 'it' : 'them'}; "sigilwatch-collector dead-letters list" tells why`,
        ),
      })),
  },
];
