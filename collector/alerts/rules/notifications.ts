import type { AlertKey } from '../catalog.ts';
import { summaryOf } from '../named.ts';
import type { Rule } from './rule.ts';

/** Of the alert that notifications to a channel were given up. */
export const deadLettersKey = (channel: string): AlertKey => `notifications.dead/${channel}`;

export const notificationRules: readonly Rule[] = [
  {
    name: 'notifications.dead',
    conditions: ({ deadLetters }) =>
      deadLetters.map(({ channel, count }) => ({
        ...{ key: deadLettersKey(channel), severity: 'error', node: null },
        summary: summaryOf(
          `${count === 1 ? 'a notification' : `${count} notifications`} to ${channel} ${count === 1 ? 'was' : 'were'} given up; "sigilwatch-collector alerts dead" lists them`,
        ),
      })),
  },
];
