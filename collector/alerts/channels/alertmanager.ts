import { rfc3339 } from '../../../common/clock.ts';
import { limits } from '../../../common/limits.ts';
import type { AlertChannel, AlertItem, AlertNotice, ChannelTraits, Severity } from '../alert.ts';
import { runbookOf } from '../catalog.ts';
import type { ChannelHttp } from '../http.ts';
import type { MessageTemplates } from '../message-templates.ts';
import { bodyOf, conditionOf, fittedLines } from '../text.ts';

/*
 * Prometheus Alertmanager, API v2. It knows an alert by its labels, so the same alert always has the same ones; and it takes every alert
 * for over whose end has passed, so one that stands is given an end beyond the next repetition.
 */

/** Of the repeat interval: so many repetitions may be lost before an alert that stands is taken for over. */
const standsForRepeats = 3;
const testMs = 5 * 60_000;

/** The alerts as Alertmanager wants them. Templates make one annotation, no label: by its labels it knows an alert. */
export function alertmanagerAlerts(notice: AlertNotice, { repeatMs, templates }: AlertmanagerForm) {
  return notice.items.flatMap((item) => {
    const standsMs = notice.isTest ? testMs : repeatMs * standsForRepeats;
    const endsAtMs = item.resolvedAtMs ?? notice.sentAtMs + standsMs;
    const summary = fittedLines(bodyOf(item, notice, templates), limits.maxAlertAnnotationChars, (one) => one);
    const alert = alertOf(item, notice, { summary, severity: item.severity, endsAtMs });
    const { previousSeverity } = item;
    if (previousSeverity === null || previousSeverity === item.severity) return [alert];
    // Under its old label it is another alert, which ends here.
    return [alertOf(item, notice, { summary, severity: previousSeverity, endsAtMs: notice.sentAtMs }), alert];
  });
}

function alertOf(
  item: AlertItem,
  { origin, isTest, runbookUrl }: AlertNotice,
  as: { summary: string; severity: Severity; endsAtMs: number },
) {
  const { key, node, raisedAtMs, index } = item;
  const runbook = runbookOf(key, runbookUrl);
  const startsAtMs = Math.min(raisedAtMs, as.endsAtMs);
  return {
    labels: {
      alertname: isTest ? 'SigilwatchTest' : conditionOf(item),
      severity: as.severity,
      key: key.toWellFormed(),
      ledger: origin,
      ...(node === null ? {} : { node }),
    },
    annotations: {
      summary: as.summary,
      ...(index === null ? {} : { ledger_entry: String(index) }),
      // By this name interfaces make a link of it, so a path has another.
      ...(runbook && { [runbook.isLink ? 'runbook_url' : 'runbook']: runbook.place }),
    },
    startsAt: rfc3339(startsAtMs),
    endsAt: rfc3339(as.endsAtMs),
  };
}

export interface AlertmanagerForm {
  /** After which a standing alert is sent again. */
  readonly repeatMs: number;
  readonly templates: MessageTemplates;
}

export interface AlertmanagerOptions extends ChannelTraits, AlertmanagerForm {
  /** Of the server, below which its API is. */
  readonly url: string;
}

export function alertmanagerChannel(options: AlertmanagerOptions, http: ChannelHttp): AlertChannel {
  const { name, level, escalateAfterMs } = options;
  const preview = (notice: AlertNotice) => alertmanagerAlerts(notice, options);
  const { url, headers } = withoutUser(options.url);
  return {
    ...{
      name,
      level,
      escalateAfterMs,
      forgets: true,
      knowsKeys: true,
      maxItems: limits.maxAlertsPerMessage,
      close: http.close,
      preview,
    },
    send: (notice) => http.post({ url, headers, body: JSON.stringify(preview(notice)) }),
  };
}

/** User and password stand in the URL, and are sent as HTTP has it. */
function withoutUser(text: string) {
  const url = new URL(text);
  const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  Object.assign(url, { username: '', password: '', search: '', hash: '' });
  const whole = `${url.href.replace(/\/+$/, '')}/api/v2/alerts`;
  return {
    url: whole,
    headers: user === ':' ? {} : { authorization: `Basic ${Buffer.from(user).toString('base64')}` },
  };
}
