import { z } from 'zod';
import { AppError } from '../../common/errors.ts';
import { count } from '../../common/fields.ts';
import { runbookOf } from '../alerts/catalog.ts';
import {
  type AlertOperatorPorts,
  acknowledgeAlert,
  endAlertSilence,
  retryNotification,
  type SilenceEnd,
  silenceAlerts,
} from '../alerts/operator.ts';
import { alertSilenceView, alertView } from '../alerts/view.ts';
import {
  alertAcknowledge,
  alertChannelList,
  alertDeadLetterList,
  alertDeadLetterRetry,
  alertList,
  alertSilenceAdd,
  alertSilenceEnd,
  alertSilenceList,
} from '../api/alerts-contract.ts';
import {
  type AlertListRow,
  alertHoldSources,
  type DeadLetterKey,
  type DeadLetterRow,
  listAlertChannels,
  listAlerts,
  listDeadLetters,
  retryDeadLetter,
} from '../postgres/alert-query-store.ts';
import type { Queryable } from '../postgres/pool.ts';
import { actingFor } from './acting.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

const paging = { list: 'alerts', key: count, keyOf: ({ raised_index }: AlertListRow) => raised_index };

const deadLetters: Paging<DeadLetterRow, DeadLetterKey, DeadLetterRow> = {
  list: 'alert-dead-letters',
  key: z.tuple([z.iso.datetime(), count]),
  keyOf: ({ died_at, id }) => [died_at.toISOString(), id],
  show: (row) => row,
};

export interface AlertsRoutesNeeds {
  readonly db: Queryable;
  readonly ports: AlertOperatorPorts;
  /** As in the settings. */
  readonly runbookUrl: string | undefined;
}

/** Alerts, what became of telling people, and what operators say about it. */
export function addAlertsRoutes(serve: Serve, { db, ports, runbookUrl }: AlertsRoutesNeeds): void {
  serve.json(alertList, async ({ query: { state, ...rest } }) => {
    const sources = await alertHoldSources(db);
    const runbook = (key: string) => runbookOf(key, runbookUrl)?.place ?? null;
    const show = (row: AlertListRow) => ({ ...alertView(row, sources), runbook: runbook(row.key) });
    return page({ ...paging, show }, rest, (at) => listAlerts(db, state, at));
  });
  serve.json(alertAcknowledge, (asked) => acknowledgeAlert(actingFor(ports, asked), asked.body.key, asked.body.reason));
  serve.json(alertSilenceList, async () => ({
    items: (await ports.silences(await ports.now())).map(alertSilenceView),
  }));
  serve.json(alertSilenceAdd, async (asked) => {
    const { pattern, reason, ...end } = asked.body;
    return silenceAlerts(actingFor(ports, asked), { pattern, end: endOf(end), reason });
  });
  serve.json(alertSilenceEnd, (asked) => endAlertSilence(actingFor(ports, asked), asked.params.id, asked.query.reason));
  serve.json(alertChannelList, async () => ({ items: await listAlertChannels(db) }));
  serve.json(alertDeadLetterList, ({ query }) => page(deadLetters, query, (at) => listDeadLetters(db, at)));
  serve.json(alertDeadLetterRetry, ({ params }) => retryNotification((id) => retryDeadLetter(db, id), params.id));
}

interface AskedEnd {
  readonly for_seconds?: number | undefined;
  readonly until?: string | undefined;
}

/** @throws AppError `validation.body` unless one of both is given. */
function endOf({ for_seconds: seconds, until }: AskedEnd): SilenceEnd {
  if (seconds !== undefined && until === undefined) return { forMs: seconds * 1_000 };
  if (until !== undefined && seconds === undefined) return { untilMs: Date.parse(until) };
  throw new AppError('validation.body', 'not a silence of alerts: either for_seconds or until', {
    details: { fields: ['for_seconds', 'until'] },
  });
}
