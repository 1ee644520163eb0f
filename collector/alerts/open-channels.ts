import { AppError } from '../../common/errors.ts';
import type { AlertChannel } from './alert.ts';
import { alertmanagerChannel } from './channels/alertmanager.ts';
import { discordChannel } from './channels/discord.ts';
import { emailChannel } from './channels/email.ts';
import { pagerdutyChannel } from './channels/pagerduty.ts';
import { slackChannel } from './channels/slack.ts';
import { webhookChannel } from './channels/webhook.ts';
import { createChannelHttp } from './http.ts';
import type { AlertSettings } from './settings.ts';

/** Every channel there can be. */
export const channelNames = ['slack', 'discord', 'pagerduty', 'webhook', 'alertmanager', 'email'] as const;

/** Reads a text file. @throws what the file system throws. */
type ReadText = (path: string) => Promise<string>;

/**
 * The channels that the settings name. Nothing is connected until something is sent.
 * @throws AppError `validation.config` for one that is set by half, and for authorities that cannot be read.
 */
export async function openChannels(settings: AlertSettings, readText: ReadText): Promise<readonly AlertChannel[]> {
  const { slack, discord, pagerduty, webhook, alertmanager, email, repeatMs, caFile } = settings;
  const ca = caFile === undefined ? undefined : await readAuthorities(caFile, readText);
  const http = (name: string) => createChannelHttp({ name, ca });
  const channels: AlertChannel[] = [];
  if (slack.webhookUrl !== undefined) {
    channels.push(slackChannel({ ...slack, webhookUrl: slack.webhookUrl }, http('slack')));
  }
  if (discord.webhookUrl !== undefined) {
    channels.push(discordChannel({ ...discord, webhookUrl: discord.webhookUrl }, http('discord')));
  }
  if (pagerduty.routingKey !== undefined) {
    channels.push(pagerdutyChannel({ ...pagerduty, routingKey: pagerduty.routingKey }, http('pagerduty')));
  }
  if (webhook.url !== undefined) {
    const secret = required(webhook.secret, 'alerts.webhook.secret');
    channels.push(webhookChannel({ ...webhook, url: webhook.url, secret }, http('webhook')));
  }
  if (alertmanager.url !== undefined) {
    channels.push(alertmanagerChannel({ ...alertmanager, url: alertmanager.url, repeatMs }, http('alertmanager')));
  }
  if (email.host !== undefined) {
    const from = required(email.from, 'alerts.email.from');
    if (email.to.length === 0) throw lacking('alerts.email.to');
    if (email.user !== undefined) required(email.password, 'alerts.email.password');
    channels.push(emailChannel({ ...email, host: email.host, from, ca }));
  }
  return channels;
}

function required(value: string | undefined, setting: string): string {
  if (value === undefined) throw lacking(setting);
  return value;
}

function lacking(setting: string): AppError {
  const channel = setting.split('.')[1];
  return new AppError('validation.config', `the channel ${channel} is set by half: ${setting} is missing`);
}

async function readAuthorities(path: string, readText: ReadText): Promise<string> {
  const text = await readText(path).catch((cause: unknown) => {
    throw new AppError('validation.config', `alerts.caFile names ${path}, which cannot be read`, { cause });
  });
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new AppError('validation.config', `alerts.caFile names ${path}, in which there is no certificate in PEM`);
}
