import { summaryOf } from '../named.ts';
import type { Rule } from './rule.ts';

export const notificationRules: readonly Rule[] = [
  {
    name: 'notifications.dead',
    conditions: ({ deadLetters }) =>
      deadLetters.map(({ channel, count }) => ({
        ...{ key: `notifications.dead/${channel}`, severity: 'error', node: null },
        summary: summaryOf(
          `${count === 1 ? 'a notification' : `${count} notifications`} to ${channel} ${count === 1 ? 'was' : 'were'} given up; "sigilwatch-collector alerts dead" lists them`,
        ),
      })),
  },
];
