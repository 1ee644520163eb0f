import { AppError } from '../../common/errors.ts';
import type { AlertChannel } from './alert.ts';
import { type ChannelWish, channelWishes, type ReadText } from './channel-wishes.ts';
import { alertmanagerChannel } from './channels/alertmanager.ts';
import { discordChannel } from './channels/discord.ts';
import { emailChannel } from './channels/email.ts';
import { pagerdutyChannel } from './channels/pagerduty.ts';
import { slackChannel } from './channels/slack.ts';
import { webhookChannel } from './channels/webhook.ts';
import { createChannelHttp } from './http.ts';
import { messageTemplates, type TemplateTexts } from './message-templates.ts';
import type { AlertSettings } from './settings.ts';

/**
 * The channels that the settings name. Nothing is connected until something is sent.
 * @throws AppError `validation.config` for one that is set by half, and for files that cannot be read.
 */
export async function openChannels(settings: AlertSettings, readText: ReadText): Promise<readonly AlertChannel[]> {
  const { repeatMs, caFile } = settings;
  const ca = caFile === undefined ? undefined : await readAuthorities(caFile, readText);
  return (await channelWishes(settings, readText)).map((wish) => openChannel(wish, { repeatMs, ca, all: settings }));
}

interface Shared {
  readonly repeatMs: number;
  readonly ca: string | undefined;
  /** Templates of all channels. */
  readonly all: TemplateTexts;
}

function openChannel(wish: ChannelWish, { repeatMs, ca, all }: Shared): AlertChannel {
  const { kind, name, at, set } = wish;
  const http = () => createChannelHttp({ name, ca });
  const traits = { name, level: set.level, escalateAfterMs: set.escalateAfterMs ?? null };
  const templatesOf = (own: TemplateTexts) => ({ templates: messageTemplates(own, all) });
  const need = (value: string | undefined, setting: string): string => {
    if (value === undefined) throw lacking(name, `${at}.${setting}`);
    return value;
  };
  switch (kind) {
    case 'slack':
      return slackChannel({ ...traits, ...templatesOf(set), webhookUrl: need(set.webhookUrl, 'webhookUrl') }, http());
    case 'discord':
      return discordChannel({ ...traits, ...templatesOf(set), webhookUrl: need(set.webhookUrl, 'webhookUrl') }, http());
    case 'pagerduty':
      return pagerdutyChannel(
        { ...traits, ...templatesOf(set), url: set.url, routingKey: need(set.routingKey, 'routingKey') },
        http(),
      );
    case 'webhook':
      return webhookChannel({ ...traits, url: need(set.url, 'url'), secret: need(set.secret, 'secret') }, http());
    case 'alertmanager':
      return alertmanagerChannel({ ...traits, ...templatesOf(set), url: need(set.url, 'url'), repeatMs }, http());
    case 'email': {
      const from = need(set.from, 'from');
      if (set.to.length === 0) throw lacking(name, `${at}.to`);
      if (set.user !== undefined) need(set.password, 'password');
      return emailChannel({ ...set, ...traits, ...templatesOf(set), host: need(set.host, 'host'), from, ca });
    }
  }
}

function lacking(name: string, setting: string): AppError {
  return new AppError('validation.config', `the channel ${name} is set by half: ${setting} is missing`);
}

async function readAuthorities(path: string, readText: ReadText): Promise<string> {
  const text = await readText(path).catch((cause: unknown) => {
    throw new AppError('validation.config', `alerts.caFile names ${path}, which cannot be read`, { cause });
  });
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new AppError('validation.config', `alerts.caFile names ${path}, in which there is no certificate in PEM`);
}
