import { z } from 'zod';
import { limits } from '../limits.ts';
import { flag, text, words } from './values.ts';

/** How bad a condition is, least first. */
export const severities = ['info', 'warning', 'error', 'critical'] as const;
export type Severity = (typeof severities)[number];

/** A way to tell people; `level` is the least severity that goes there. */
const channel = z.strictObject({
  type: z.enum(['log', 'discord', 'email', 'webhook']),
  name: text.optional(),
  enabled: flag.default(true),
  level: z.enum(['all', ...severities]).default('all'),
  webhook_url: words.optional(),
  recipients: z.array(text).max(limits.maxAlertReceivers).default([]),
});

const condition = z.strictObject({
  name: text,
  severity: z.enum(severities).default('warning'),
  message: words.optional(),
});

/** The manifest's key `alerting`. */
export const alerting = z.strictObject({
  enabled: flag.default(false),
  channels: z.array(channel).max(limits.maxAlertReceivers).default([]),
  conditions: z.array(condition).max(limits.maxAlertConditions).default([]),
});

export type Alerting = z.output<typeof alerting>;
