import { z } from 'zod';
import { count } from '../../common/fields.ts';
import { runbookOf } from '../alerts/catalog.ts';
import { type AlertListRow, listAlertChannels, listAlerts } from '../postgres/alert-query-store.ts';
import type { Queryable } from '../postgres/pool.ts';
import type { Routes } from './env.ts';
import { type Paging, page } from './paging.ts';
import { pageParameters, readQuery } from './query.ts';

const query = z.strictObject({ ...pageParameters, state: z.enum(['standing', 'all']).default('standing') });

const paging = (runbookUrl: string | undefined): Paging<AlertListRow, number> => ({
  list: 'alerts',
  key: count,
  keyOf: ({ raised_index }) => raised_index,
  show: (row) => ({ ...row, runbook: runbookOf(row.key, runbookUrl)?.place ?? null }),
});

/** Alerts, and what became of telling people. @param runbookUrl as in the settings. */
export function addAlertsRoutes(routes: Routes, db: Queryable, runbookUrl: string | undefined): void {
  routes.get('/api/v1/alerts', async (c) => {
    const { state, ...rest } = readQuery(c, query);
    return c.json(await page(paging(runbookUrl), rest, (at) => listAlerts(db, state, at)));
  });
  routes.get('/api/v1/alert-channels', async (c) => {
    readQuery(c, z.strictObject({}));
    return c.json({ items: await listAlertChannels(db) });
  });
}
