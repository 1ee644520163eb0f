import pLimit from 'p-limit';
import { z } from 'zod';
import { ownText } from '../../common/fields.ts';
import { approvalSchema } from '../../common/order.ts';
import { announceChange, type ChangePorts, changeViews } from '../enforcement/changes.ts';
import type { Queryable } from '../postgres/pool.ts';
import { readMeasures } from '../postgres/standing-measure-store.ts';
import { limitBody, readBody } from './body.ts';
import type { Routes } from './env.ts';
import { readQuery } from './query.ts';

const query = z.strictObject({ state: z.enum(['standing', 'all']).default('standing') });

/** The announced text byte for byte, line end included, and who has signed it. */
const wish = z.strictObject({ text: ownText, approval: approvalSchema });

/** Changes that somebody has announced. */
export function addChangesRoutes(routes: Routes, ports: ChangePorts, db: Queryable): void {
  // Of two that come at once the second has to see the first.
  const oneAtATime = pLimit(1);
  routes.get('/api/v1/changes', async (c) => {
    const { state } = readQuery(c, query);
    const nowMs = ports.clock.now();
    const { announcements } = await readMeasures(db, nowMs);
    return c.json({ items: changeViews(announcements, nowMs, state) });
  });
  routes.post('/api/v1/changes', limitBody, async (c) => {
    const { text, approval } = await readBody(c, wish, 'an announced change');
    const { index, node, container, image, until } = await oneAtATime(() => announceChange(ports, text, approval));
    return c.json({ index, node, container, becomes: image, before: until, approver: approval.approver }, 201);
  });
}
