import { createHmac } from 'node:crypto';
import { rfc3339 } from '../../../common/clock.ts';
import { limits } from '../../../common/limits.ts';
import type { AlertChannel, AlertItem, AlertNotice, ChannelTraits } from '../alert.ts';
import { runbookOf } from '../catalog.ts';
import type { ChannelHttp } from '../http.ts';

/*
 * Any HTTP server, signed as Standard Webhooks 1.0 has it (standardwebhooks.com): libraries in most languages check that. The body is for
 * programs, so texts are in it as they are, and no template makes anything of them.
 */

/** What is signed and sent, as JSON. */
export function webhookMessage(notice: AlertNotice) {
  const { id, sentAtMs, origin, isTest, items } = notice;
  const data = { notification: id, ledger: origin, test: isTest, alerts: items.map((item) => itemOf(item, notice)) };
  return { type: isTest ? 'alert.test' : 'alert.changed', timestamp: rfc3339(sentAtMs), data };
}

function itemOf(item: AlertItem, { runbookUrl }: AlertNotice) {
  const { key, change, severity, summary, node, raisedAtMs, resolvedAtMs, reason, index } = item;
  return {
    ...{ key, change, severity, summary, node, reason },
    raised_at: rfc3339(raisedAtMs),
    resolved_at: resolvedAtMs === null ? null : rfc3339(resolvedAtMs),
    ledger_entry: index,
    runbook: runbookOf(key, runbookUrl)?.place ?? null,
  };
}

/**
 * The three headers of Standard Webhooks. The time is that of the attempt, since receivers refuse what is older than some minutes.
 * @param secret `whsec_` and base64, or else taken as it is.
 */
export function webhookHeaders(body: string, signing: { id: string; atMs: number; secret: string }) {
  const seconds = Math.floor(signing.atMs / 1_000);
  const prefix = 'whsec_';
  const { id, secret } = signing;
  const key = secret.startsWith(prefix) ? Buffer.from(secret.slice(prefix.length), 'base64') : Buffer.from(secret);
  const signature = createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': String(seconds), 'webhook-signature': `v1,${signature}` };
}

export interface WebhookOptions extends ChannelTraits {
  readonly url: string;
  readonly secret: string;
}

export function webhookChannel({ url, secret, ...traits }: WebhookOptions, http: ChannelHttp): AlertChannel {
  return {
    ...{ ...traits, maxItems: limits.maxAlertsPerMessage, close: http.close, preview: webhookMessage },
    send: (notice) => {
      const body = JSON.stringify(webhookMessage(notice));
      const headers = webhookHeaders(body, { id: notice.id, atMs: notice.sentAtMs, secret });
      return http.post({ url, body, headers });
    },
  };
}
