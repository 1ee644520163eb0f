import { z } from 'zod';
import { alertSeverities } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { templateForms } from './message-templates.ts';
import { ruleSettings } from './rules/settings.ts';
import { readTemplate } from './template.ts';

const severity = z.enum(alertSeverities);
const level = severity.default('info').describe('Least severity that goes there');
const period = z.int().min(1_000).max(limits.maxAlertEscalateMs);
const escalateAfterMs = period
  .optional()
  .describe('Told only of what still stands so long after it was raised, and that nobody has acknowledged');
const traits = { level, escalateAfterMs };

const template = (name: keyof typeof templateForms) =>
  z
    .string()
    .superRefine((whole, { addIssue }) => {
      const { problem } = readTemplate<string>(whole, templateForms[name]);
      if (problem !== undefined) addIssue({ code: 'custom', message: problem });
    })
    .optional();

const titleTemplate = template('titleTemplate').describe('Title of one alert; text with placeholders in braces');
const bodyTemplate = template('bodyTemplate').describe('What is said of one alert; text with placeholders in braces');
const severalTemplate = template('severalTemplate').describe('Title of a message with several alerts');

/** What is told, and the secret in the URL with many vendors, is for nobody on the way. */
const secureUrl = z
  .string()
  .refine((text) => isUrl(text, ['https:']) || isLocal(text), 'an https:// URL (http:// only to this machine)');

/** Stands in messages as a link, so it must have no signs that end one, nor a part that a name cannot go behind. */
const webUrl = z
  .string()
  .max(limits.maxRunbookUrlChars)
  .refine(
    (text) => /^https?:\/\/[\w.:[\]-]+(\/[\w.~%/-]*)?$/.test(text) && URL.canParse(text),
    'an http:// or https:// URL without user, "?" and "#"',
  );

const plainUrl = z.string().refine((text) => isUrl(text, ['http:', 'https:']), 'an http:// or https:// URL');

function isUrl(text: string, protocols: readonly string[]): boolean {
  return URL.canParse(text) && protocols.includes(new URL(text).protocol);
}

function isLocal(text: string): boolean {
  return isUrl(text, ['http:']) && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(new URL(text).hostname);
}

/** `ops@example.org`, or `Sigilwatch <ops@example.org>` without anything that could end a header. */
const mailbox = z
  .string()
  .max(limits.maxForeignTextChars)
  .refine(
    (text) => /^([^<>@,;:"\\\p{Cc}]+ <[^\s<>@,;:"\\]+@[^\s<>@,;:"\\]+>|[^\s<>@,;:"\\]+@[^\s<>@,;:"\\]+)$/u.test(text),
    'an address such as ops@example.org or "Sigilwatch <ops@example.org>"',
  );

/** Every kind of channel, and what can be set of one. It is in use when its address is set. */
export const channelForms = {
  slack: z.strictObject({
    webhookUrl: secureUrl.optional().meta({ secret: true }).describe('Incoming webhook of Slack'),
    ...{ titleTemplate, bodyTemplate, severalTemplate },
    ...traits,
  }),
  discord: z.strictObject({
    webhookUrl: secureUrl.optional().meta({ secret: true }).describe('Webhook of a Discord channel'),
    ...{ titleTemplate, bodyTemplate, severalTemplate },
    ...traits,
  }),
  pagerduty: z.strictObject({
    routingKey: z
      .string()
      .regex(/^[A-Za-z0-9]{32}$/, 'the 32 characters of an integration key')
      .optional()
      .meta({ secret: true })
      .describe('Integration key of a PagerDuty service (Events API v2)'),
    url: secureUrl
      .default('https://events.pagerduty.com/v2/enqueue')
      .describe('Where events go; https://events.eu.pagerduty.com/v2/enqueue for accounts in the EU'),
    ...{ titleTemplate, bodyTemplate },
    ...traits,
  }),
  webhook: z.strictObject({
    url: secureUrl.optional().meta({ secret: true }).describe('Where a signed POST goes (Standard Webhooks)'),
    secret: z
      .string()
      .min(16)
      .optional()
      .meta({ secret: true })
      .describe('Key it is signed with: whsec_ and base64, or at least 16 characters taken as they are'),
    ...traits,
  }),
  alertmanager: z.strictObject({
    url: plainUrl
      .optional()
      .meta({ secret: true })
      .describe('Prometheus Alertmanager, such as http://alertmanager:9093; user and password may stand in it'),
    bodyTemplate,
    ...traits,
  }),
  email: z.strictObject({
    host: z.string().min(1).optional().describe('SMTP server'),
    port: z.int().min(1).max(65_535).default(587).describe('Its port'),
    security: z
      .enum(['starttls', 'tls'])
      .default('starttls')
      .describe('STARTTLS (port 587), or TLS from the first byte (port 465); never without'),
    user: z.string().min(1).optional().describe('Whom to log in as'),
    password: z.string().min(1).optional().meta({ secret: true }).describe('and with what'),
    from: mailbox.optional().describe('Sender'),
    to: z.array(mailbox).max(limits.maxAlertRecipients).default([]).describe('Who gets it'),
    ...{ titleTemplate, bodyTemplate, severalTemplate },
    ...traits,
  }),
} as const;

export const channelKinds = ['slack', 'discord', 'pagerduty', 'webhook', 'alertmanager', 'email'] as const;
export type ChannelKind = (typeof channelKinds)[number];

const text = z.string().min(1).optional();
const secret = text.meta({ secret: true });

/** One of several of a kind. Judged by the form of its kind once its secrets were read from their files. */
const namedChannel = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'a name of its own: lower-case letters, digits and hyphens'),
  kind: z.enum(channelKinds),
  level: severity.optional(),
  escalateAfterMs: period.optional(),
  ...{ webhookUrl: secret, webhookUrlFile: text, routingKey: secret, routingKeyFile: text },
  ...{ url: secret, urlFile: text, secret, secretFile: text },
  ...{ host: text, port: z.int().optional(), security: text, user: text, password: secret, passwordFile: text },
  ...{ from: text, to: z.array(z.string()).optional() },
  ...{ titleTemplate: text, bodyTemplate: text, severalTemplate: text },
});

export type NamedChannel = z.output<typeof namedChannel>;

/** How people are told of alerts. */
export const alertSettings = z.strictObject({
  groupMs: z
    .int()
    .min(0)
    .max(limits.maxAlertWaitMs)
    .default(limits.alertGroupMs)
    .describe('Alerts that begin within this time after another one share its message'),
  repeatMs: z
    .int()
    .min(limits.minAlertRepeatMs)
    .max(limits.alertHistoryMs)
    .default(limits.alertRepeatMs)
    .describe('While an alert stands it is told again after this time'),
  attempts: z
    .int()
    .min(1)
    .max(limits.maxAlertAttempts)
    .default(limits.alertAttempts)
    .describe('Tries of one notification before it becomes a dead letter'),
  rules: ruleSettings,
  caFile: z
    .string()
    .min(1)
    .optional()
    .describe('PEM file of the authorities that channels are checked by, instead of those of the system'),
  runbookUrl: webUrl
    .optional()
    .describe(
      'Under which the pages of docs/runbook are, for links in messages; without it they say the path of the page',
    ),
  ...{ titleTemplate, bodyTemplate, severalTemplate },
  ...channelForms,
  channels: z
    .array(namedChannel)
    .max(limits.maxNamedChannels)
    .default([])
    .describe(
      'Further channels, several of a kind where wanted: name, kind, and what can be set of that kind; secrets also as files (webhookUrlFile ...)',
    ),
});

export type AlertSettings = z.output<typeof alertSettings>;
