import { z } from 'zod';
import { ownText } from '../../common/fields.ts';
import { alertSeverities } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { filterTime, pageParameters } from './fields.ts';

const severity = z.enum(alertSeverities);

const alertSilence = z
  .object({
    id: z.string(),
    pattern: z.string(),
    until: moment,
    actor: z.string(),
    reason: z.string(),
    index: z.int(),
    at: moment,
  })
  .meta({ id: 'AlertSilence' });

const notification = z.object({
  channel: z.string(),
  change: z.string(),
  state: z.enum(['waiting', 'delivered', 'dead']),
  attempts: z.int(),
  settled_at: moment.nullable(),
  last_error: z.string().nullable(),
});

export const alert = z
  .object({
    key: z.string(),
    severity,
    worst: severity,
    summary: z.string(),
    node: z.string().nullable(),
    raised_index: z.int(),
    raised_at: moment,
    resolved_index: z.int().nullable(),
    resolved_at: moment.nullable(),
    reason: z.string().nullable(),
    notifications: z.array(notification).describe('by channel, what it was told of it last'),
    silenced: alertSilence.nullable(),
    follows_from: z.string().nullable().describe('the alert that it follows from, and because of which it is not told'),
    acknowledged: z.object({ at: moment, by: z.string(), reason: z.string() }).nullable(),
    runbook: z.string().nullable(),
  })
  .meta({ id: 'Alert' });

export const alertList = contract({
  operation: 'alerts.list',
  method: 'get',
  path: '/api/v1/alerts',
  permission: 'alerts.read',
  summary: 'Alerts, newest first, and what became of telling people',
  query: z.strictObject({ ...pageParameters, state: z.enum(['standing', 'all']).default('standing') }),
  answers: { 200: pageOf(alert) },
});

export const alertAcknowledge = contract({
  operation: 'alerts.acknowledge',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/alerts/acknowledge',
  permission: 'alerts.answer',
  summary: 'Say that somebody knows of it: it is not told again',
  body: z.strictObject({ key: ownText, reason: ownText }),
  bodyIs: 'an acknowledgement',
  answers: {
    201: z.object({ key: z.string(), acknowledged: z.literal(true), actor: z.string(), reason: z.string() }),
  },
});

export const alertSilenceList = contract({
  operation: 'alert_silences.list',
  method: 'get',
  path: '/api/v1/alert-silences',
  permission: 'alerts.read',
  summary: 'Silences of alerts that stand',
  answers: { 200: z.object({ items: z.array(alertSilence) }) },
});

export const alertSilenceAdd = contract({
  operation: 'alert_silences.add',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/alert-silences',
  permission: 'alerts.answer',
  summary: 'Tell nobody of these alerts for a while; they stay on record',
  body: z.strictObject({
    pattern: ownText.describe('a key, or the beginning of keys with a * at its end'),
    for_seconds: z
      .int()
      .min(1)
      .max(limits.maxAlertSilenceMs / 1_000)
      .optional(),
    until: filterTime.optional().describe('either this or for_seconds'),
    reason: ownText,
  }),
  bodyIs: 'a silence of alerts',
  answers: { 201: alertSilence },
});

export const alertSilenceEnd = contract({
  operation: 'alert_silences.end',
  recordsItself: true,
  method: 'delete',
  path: '/api/v1/alert-silences/:id',
  permission: 'alerts.answer',
  summary: 'End a silence before its time: what still stands is told',
  params: z.object({ id: pathText }),
  query: z.strictObject({ reason: ownText.default('not needed any more') }),
  answers: { 200: alertSilence.extend({ ended: z.literal(true) }) },
});

const deadNotification = z
  .object({
    id: z.int(),
    channel: z.string(),
    key: z.string().describe('of the alert'),
    change: z.string(),
    summary: z.string(),
    attempts: z.int(),
    died_at: moment,
    last_error: z.string().nullable(),
  })
  .meta({ id: 'DeadNotification' });

export const alertDeadLetterList = contract({
  operation: 'alert_dead_letters.list',
  method: 'get',
  path: '/api/v1/alert-dead-letters',
  permission: 'dead_letters.read',
  summary: 'Notifications that were given up, the last one first',
  query: z.strictObject(pageParameters),
  answers: { 200: pageOf(deadNotification) },
});

export const alertDeadLetterRetry = contract({
  operation: 'alert_dead_letters.retry',
  method: 'post',
  path: '/api/v1/alert-dead-letters/:id/retry',
  permission: 'dead_letters.manage',
  summary: 'Send it again, unless its channel knows better by now, or what it tells the beginning of is over',
  params: z.object({ id: pathText }),
  answers: { 202: z.object({ id: z.int(), state: z.literal('waiting') }) },
});

export const alertChannelList = contract({
  operation: 'alert_channels.list',
  method: 'get',
  path: '/api/v1/alert-channels',
  permission: 'alerts.read',
  summary: 'Channels that people are told through, and how they do',
  answers: {
    200: z.object({
      items: z.array(
        z.object({
          channel: z.string(),
          level: severity,
          escalate_after_ms: z.int().nullable(),
          seen_at: moment,
          waiting: z.int(),
          dead: z.int(),
          open_until: moment.nullable(),
          last_success_at: moment.nullable(),
          last_failure_at: moment.nullable(),
          last_error: z.string().nullable(),
        }),
      ),
    }),
  },
});
