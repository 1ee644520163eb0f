import pLimit from 'p-limit';
import { z } from 'zod';
import { count, nodeName, ownText } from '../../common/fields.ts';
import { approvalSchema, orderActions } from '../../common/order.ts';
import { approveOrder, rejectOrder } from '../enforcement/approvals.ts';
import { issueManual } from '../enforcement/manual.ts';
import type { OperatorPorts } from '../enforcement/operator.ts';
import type { StoredOrder } from '../enforcement/ports.ts';
import { planStory, storyNamed, storyOf } from '../enforcement/story.ts';
import { orderStatuses, orderView } from '../enforcement/view.ts';
import { limitBody, readBody } from './body.ts';
import type { Routes } from './env.ts';
import { type Paging, page } from './paging.ts';
import { filterText, pageParameters, readQuery } from './query.ts';

const query = z.strictObject({
  ...pageParameters,
  node: nodeName.optional(),
  container: filterText.optional(),
  action: z.enum(orderActions).optional(),
  status: z.enum(orderStatuses).optional(),
});

const wish = z.strictObject({
  node: nodeName,
  action: z.enum(orderActions),
  container: filterText,
  reason: ownText,
  /** The container's name once more. */
  confirm: z.string().optional(),
  dry_run: z.boolean().default(false),
});

const rejection = z.strictObject({ reason: ownText });

const paging: Paging<StoredOrder, number> = {
  list: 'orders',
  key: count,
  keyOf: ({ index }) => index,
  show: orderView,
};

/** Orders: what became of them, and what an operator may do about them. */
export function addOrdersRoutes(routes: Routes, ports: OperatorPorts): void {
  // Of two approvals that come at once each has to see what the other did.
  const oneAtATime = pLimit(1);
  routes.get('/api/v1/orders', async (c) => {
    const { node, container, action, status, ...rest } = readQuery(c, query);
    const filter = { node, container, action, status };
    const fetch = ({ after, limit }: { after: number | undefined; limit: number }) =>
      ports.store.listOrders(filter, { before: after, limit }, ports.clock.now());
    return c.json(await page(paging, rest, fetch));
  });
  routes.get('/api/v1/orders/:hash', async (c) => {
    readQuery(c, z.strictObject({}));
    return c.json(await storyNamed(ports, c.req.param('hash')));
  });
  routes.post('/api/v1/orders', limitBody, async (c) => {
    const { confirm = '', dry_run, ...wished } = await readBody(c, wish, 'an order');
    if (dry_run) return c.json(await planStory(ports, wished));
    return c.json(await storyOf(ports, await issueManual(ports, wished, confirm)), 201);
  });
  routes.post('/api/v1/orders/:hash/approve', limitBody, async (c) => {
    const approval = await readBody(c, approvalSchema, 'an approval');
    const approved = await oneAtATime(() => approveOrder(ports, c.req.param('hash'), approval));
    return c.json(await storyOf(ports, approved));
  });
  routes.post('/api/v1/orders/:hash/reject', limitBody, async (c) => {
    const { reason } = await readBody(c, rejection, 'a rejection');
    const rejected = await oneAtATime(() => rejectOrder(ports, c.req.param('hash'), reason));
    return c.json(await storyOf(ports, rejected));
  });
}
