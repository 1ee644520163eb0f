import { hash } from 'node:crypto';
import { rfc3339 } from '../../../common/clock.ts';
import { secretMask } from '../../../common/settings.ts';
import type { AlertChannel, AlertItem, AlertNotice, ChannelTraits } from '../alert.ts';
import { runbookOf } from '../catalog.ts';
import type { ChannelHttp } from '../http.ts';
import type { MessageTemplates } from '../message-templates.ts';
import { bodyOf, conditionOf, headlineOf, oneLine } from '../text.ts';

/*
 * PagerDuty, Events API v2. One event is one alert; its `dedup_key` makes of repetitions, and of the same event sent twice, the one
 * incident that a resolve ends. The severities are theirs as they are ours.
 */

const maxSummaryChars = 1_024;
const maxDedupChars = 255;
const maxDetailChars = 2_000;

/** The event as PagerDuty wants it. */
export function pagerdutyEvent(
  item: AlertItem,
  notice: AlertNotice,
  { routingKey, templates }: Pick<PagerdutyOptions, 'routingKey' | 'templates'>,
) {
  const { origin, isTest, id, runbookUrl } = notice;
  const known = { routing_key: routingKey, dedup_key: dedupKey(origin, item.key) };
  if (item.change === 'resolved') return { ...known, event_action: 'resolve' as const };
  const runbook = runbookOf(item.key, runbookUrl);
  const mark = isTest ? 'TEST ' : '';
  const body = bodyOf(item, notice, templates);
  return {
    ...known,
    event_action: 'trigger' as const,
    client: 'Sigilwatch',
    ...(runbook?.isLink && { links: [{ href: runbook.place, text: `Runbook: ${runbook.title}` }] }),
    payload: {
      summary: oneLine(`${mark}${headlineOf(item, notice, templates)}. ${body}`, maxSummaryChars),
      source: item.node ?? oneLine(origin, maxDedupChars),
      severity: item.severity,
      timestamp: rfc3339(item.raisedAtMs),
      component: item.node ?? 'fleet',
      group: oneLine(origin, maxDedupChars),
      class: conditionOf(item),
      custom_details: {
        key: oneLine(item.key, maxDetailChars),
        ledger_entry: item.index,
        notification: id,
        ...(runbook && { runbook: runbook.place }),
      },
    },
  };
}

/** Two fleets may page the same service. A key that is too long, or not plain, is known by its hash. */
function dedupKey(origin: string, key: string): string {
  const whole = `${origin}/${key}`;
  const isPlain = whole.length <= maxDedupChars && /^[ -~]+$/.test(whole);
  return isPlain ? whole : `sigilwatch/${hash('sha256', whole, 'hex')}`;
}

export interface PagerdutyOptions extends ChannelTraits {
  readonly routingKey: string;
  readonly url: string;
  readonly templates: MessageTemplates;
}

export function pagerdutyChannel(options: PagerdutyOptions, http: ChannelHttp): AlertChannel {
  const { name, level, escalateAfterMs, url } = options;
  const post = (event: ReturnType<typeof pagerdutyEvent>) => http.post({ url, body: JSON.stringify(event) });
  return {
    ...{ name, level, escalateAfterMs, knowsKeys: true, maxItems: 1, close: http.close },
    preview: (notice) =>
      notice.items.map((item) => pagerdutyEvent(item, notice, { ...options, routingKey: secretMask })),
    send: async (notice) => {
      const [item] = notice.items;
      if (item === undefined) return { status: 'nothing', text: '' };
      const answer = await post(pagerdutyEvent(item, notice, options));
      // A test pages, and leaves no incident behind.
      return notice.isTest ? post(pagerdutyEvent({ ...item, change: 'resolved' }, notice, options)) : answer;
    },
  };
}
