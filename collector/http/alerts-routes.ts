import { z } from 'zod';
import { AppError } from '../../common/errors.ts';
import { count, ownText } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import { runbookOf } from '../alerts/catalog.ts';
import {
  type AlertOperatorPorts,
  acknowledgeAlert,
  endAlertSilence,
  type SilenceEnd,
  silenceAlerts,
} from '../alerts/operator.ts';
import { alertSilenceView, alertView } from '../alerts/view.ts';
import { type AlertListRow, alertHoldSources, listAlertChannels, listAlerts } from '../postgres/alert-query-store.ts';
import type { Queryable } from '../postgres/pool.ts';
import { limitBody, readBody } from './body.ts';
import type { Routes } from './env.ts';
import { type Paging, page } from './paging.ts';
import { filterTime, pageParameters, readQuery } from './query.ts';

const query = z.strictObject({ ...pageParameters, state: z.enum(['standing', 'all']).default('standing') });
const nothing = z.strictObject({});

const maxSilenceSeconds = limits.maxAlertSilenceMs / 1_000;
const wish = z.strictObject({
  pattern: ownText,
  for_seconds: z.int().min(1).max(maxSilenceSeconds).optional(),
  until: filterTime.optional(),
  reason: ownText,
});
const ending = z.strictObject({ reason: ownText.default('not needed any more') });
const acknowledgement = z.strictObject({ key: ownText, reason: ownText });

const paging: Omit<Paging<AlertListRow, number>, 'show'> = {
  list: 'alerts',
  key: count,
  keyOf: ({ raised_index }) => raised_index,
};

export interface AlertsRoutesNeeds {
  readonly db: Queryable;
  readonly ports: AlertOperatorPorts;
  /** As in the settings. */
  readonly runbookUrl: string | undefined;
}

/** Alerts, what became of telling people, and what operators say about it. */
export function addAlertsRoutes(routes: Routes, { db, ports, runbookUrl }: AlertsRoutesNeeds): void {
  routes.get('/api/v1/alerts', async (c) => {
    const { state, ...rest } = readQuery(c, query);
    const sources = await alertHoldSources(db);
    const runbook = (key: string) => runbookOf(key, runbookUrl)?.place ?? null;
    const show = (row: AlertListRow) => ({ ...alertView(row, sources), runbook: runbook(row.key) });
    return c.json(await page({ ...paging, show }, rest, (at) => listAlerts(db, state, at)));
  });
  routes.post('/api/v1/alerts/acknowledge', limitBody, async (c) => {
    const { key, reason } = await readBody(c, acknowledgement, 'an acknowledgement');
    return c.json(await acknowledgeAlert(ports, key, reason), 201);
  });
  routes.get('/api/v1/alert-silences', async (c) => {
    readQuery(c, nothing);
    return c.json({ items: (await ports.silences(await ports.now())).map(alertSilenceView) });
  });
  routes.post('/api/v1/alert-silences', limitBody, async (c) => {
    const { pattern, reason, ...end } = await readBody(c, wish, 'a silence of alerts');
    return c.json(await silenceAlerts(ports, { pattern, end: endOf(end), reason }), 201);
  });
  routes.delete('/api/v1/alert-silences/:id', async (c) => {
    const { reason } = readQuery(c, ending);
    return c.json(await endAlertSilence(ports, c.req.param('id'), reason));
  });
  routes.get('/api/v1/alert-channels', async (c) => {
    readQuery(c, nothing);
    return c.json({ items: await listAlertChannels(db) });
  });
}

/** @throws AppError `validation.request` unless one of both is given. */
function endOf({ for_seconds: seconds, until }: Pick<z.output<typeof wish>, 'for_seconds' | 'until'>): SilenceEnd {
  if (seconds !== undefined && until === undefined) return { forMs: seconds * 1_000 };
  if (until !== undefined && seconds === undefined) return { untilMs: Date.parse(until) };
  throw new AppError('validation.request', 'not a silence of alerts: either for_seconds or until', {
    details: { fields: ['for_seconds', 'until'] },
  });
}
