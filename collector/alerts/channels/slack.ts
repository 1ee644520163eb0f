import { limits } from '../../../common/limits.ts';
import type { AlertChannel, AlertItem, AlertNotice, ChannelTraits, Severity } from '../alert.ts';
import { type Runbook, runbookOf } from '../catalog.ts';
import type { ChannelHttp } from '../http.ts';
import type { MessageTemplates } from '../message-templates.ts';
import { bodyOf, factsOf, fitted, fittedLines, headlineOf, titleOf } from '../text.ts';

/*
 * Slack, incoming webhook with Block Kit. Foreign text stands in `plain_text` objects, where no markup counts; `&`, `<` and `>` are
 * escaped even so, as Slack asks for wherever text goes, since `<!channel>` calls everybody. So templates have no markup either: in
 * Slack's there is no escape for `*`, `_` and the like, and values beside it would be read as it.
 */

/** Block Kit: the text of a header; of a section or context element. All blocks together stay far below some 13,000. */
const maxHeaderChars = 150;
const maxFallbackChars = 1_000;

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };
const escaped = (character: string): string => escapes[character] ?? character;
const plainText = (text: string) => ({ type: 'plain_text', text, emoji: false });
const plain = (text: string, maxChars: number) => plainText(fitted(text, maxChars, escaped));

/** The message as Slack wants it. */
export function slackMessage(notice: AlertNotice, templates: MessageTemplates) {
  const title = titleOf(notice, templates);
  return {
    // Shown where blocks are not: in notifications. `mrkdwn` and `parse` keep it from being read as markup.
    text: fitted(title, maxFallbackChars, escaped),
    mrkdwn: false,
    parse: 'none',
    link_names: false,
    unfurl_links: false,
    unfurl_media: false,
    blocks: [
      { type: 'header', text: plain(`${markOf(notice)} ${title}`, maxHeaderChars) },
      ...notice.items.flatMap((item) => itemBlocks(item, notice, templates)),
      { type: 'context', elements: [plain(notice.origin, limits.maxChatTextChars)] },
    ],
  };
}

function itemBlocks(item: AlertItem, notice: AlertNotice, templates: MessageTemplates) {
  const runbook = runbookOf(item.key, notice.runbookUrl);
  const body = bodyOf(item, notice, templates);
  // With one alert the header has said it.
  const text = notice.items.length === 1 ? body : `${headlineOf(item, notice, templates)}. ${body}`;
  return [
    { type: 'section', text: plainText(fittedLines(text, limits.maxChatTextChars, escaped)) },
    {
      type: 'context',
      elements: [plain(factsOf(item), limits.maxChatTextChars), ...(runbook === null ? [] : [linkTo(runbook)])],
    },
  ];
}

/** The only markup that we send: nothing foreign is in it, and the setting takes no sign that would end a link. */
function linkTo({ title, place, isLink }: Runbook) {
  if (!isLink) return plain(place, limits.maxChatTextChars);
  return { type: 'mrkdwn', text: `<${place}|Runbook: ${title}>`, verbatim: true };
}

const marks: Readonly<Record<Severity, string>> = { critical: '🔴', error: '🟠', warning: '🟡', info: '🔵' };

function markOf({ items }: AlertNotice): string {
  const standing = items.find(({ change }) => change !== 'resolved');
  return standing === undefined ? '🟢' : marks[standing.severity];
}

export interface SlackOptions extends ChannelTraits {
  readonly webhookUrl: string;
  readonly templates: MessageTemplates;
}

export function slackChannel({ webhookUrl, templates, ...traits }: SlackOptions, http: ChannelHttp): AlertChannel {
  const preview = (notice: AlertNotice) => slackMessage(notice, templates);
  return {
    ...{ ...traits, maxItems: limits.maxAlertsPerMessage, close: http.close, preview },
    send: (notice) => http.post({ url: webhookUrl, body: JSON.stringify(preview(notice)) }),
  };
}
