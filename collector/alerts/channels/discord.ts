import { rfc3339 } from '../../../common/clock.ts';
import { limits } from '../../../common/limits.ts';
import type { AlertChannel, AlertItem, AlertNotice, ChannelTraits, Severity } from '../alert.ts';
import { runbookOf } from '../catalog.ts';
import type { ChannelHttp } from '../http.ts';
import type { MessageTemplates } from '../message-templates.ts';
import { bodyOf, fitted, fittedLines, headlineOf, oneLine, titleOf } from '../text.ts';

/*
 * Discord, execute webhook. Every ASCII sign is escaped with a backslash, which its markdown takes before all of them: no mention, link,
 * heading or emoji is left. Mentions are switched off besides.
 */

/** Ten embeds with title, description and footer: together below 6,000. */
const maxTitleChars = 100;
const maxFooterChars = 100;
const maxContentChars = 500;

const escaped = (character: string): string => (/[!-/:-@[-`{-~]/.test(character) ? `\\${character}` : character);

const colours: Readonly<Record<Severity, number>> = {
  critical: 0xd32f2f,
  error: 0xf57c00,
  warning: 0xfbc02d,
  info: 0x1976d2,
};
const resolvedColour = 0x388e3c;

/** The message as Discord wants it. */
export function discordMessage(notice: AlertNotice, templates: MessageTemplates) {
  return {
    username: 'Sigilwatch',
    content: fitted(titleOf(notice, templates), maxContentChars, escaped),
    allowed_mentions: { parse: [] },
    embeds: notice.items.map((item) => embedOf(item, notice, templates)),
  };
}

function embedOf(item: AlertItem, notice: AlertNotice, templates: MessageTemplates) {
  const { origin, runbookUrl } = notice;
  const runbook = runbookOf(item.key, runbookUrl);
  const footer = [
    ...(runbook === null || runbook.isLink ? [] : [runbook.place]),
    ...(item.index === null ? [] : [`ledger entry ${item.index}`]),
    origin,
  ];
  return {
    title: fitted(headlineOf(item, notice, templates), maxTitleChars, escaped),
    // What the title leads to.
    ...(runbook?.isLink && { url: runbook.place }),
    description: fittedLines(bodyOf(item, notice, templates), limits.maxChatTextChars, escaped),
    color: item.change === 'resolved' ? resolvedColour : colours[item.severity],
    timestamp: rfc3339(item.resolvedAtMs ?? item.raisedAtMs),
    // No markdown is read here.
    footer: { text: oneLine(footer.join(', '), maxFooterChars) },
  };
}

export interface DiscordOptions extends ChannelTraits {
  readonly webhookUrl: string;
  readonly templates: MessageTemplates;
}

export function discordChannel({ webhookUrl, templates, ...traits }: DiscordOptions, http: ChannelHttp): AlertChannel {
  const preview = (notice: AlertNotice) => discordMessage(notice, templates);
  return {
    ...{ ...traits, maxItems: limits.maxAlertsPerMessage, close: http.close, preview },
    send: (notice) => http.post({ url: webhookUrl, body: JSON.stringify(preview(notice)) }),
  };
}
