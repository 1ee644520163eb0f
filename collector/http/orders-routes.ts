import pLimit from 'p-limit';
import { count } from '../../common/fields.ts';
import { orderApprove, orderIssue, orderList, orderReject, orderShow } from '../api/orders-contract.ts';
import { approveOrder, rejectOrder } from '../enforcement/approvals.ts';
import { issueManual } from '../enforcement/manual.ts';
import type { OperatorPorts } from '../enforcement/operator.ts';
import type { StoredOrder } from '../enforcement/ports.ts';
import { planStory, storyNamed, storyOf } from '../enforcement/story.ts';
import { type OrderView, orderView } from '../enforcement/view.ts';
import { actingFor } from './acting.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

const paging: Paging<StoredOrder, number, OrderView> = {
  list: 'orders',
  key: count,
  keyOf: ({ index }) => index,
  show: orderView,
};

/** Orders: what became of them, and what an operator may do about them. */
export function addOrdersRoutes(serve: Serve, ports: OperatorPorts): void {
  // Of two approvals that come at once each has to see what the other did.
  const oneAtATime = pLimit(1);
  serve.json(orderList, async ({ query: { node, container, action, status, ...rest } }) => {
    const filter = { node, container, action, status };
    return page(paging, rest, ({ after, limit }) =>
      ports.store.listOrders(filter, { before: after, limit }, ports.clock.now()),
    );
  });
  serve.json(orderShow, ({ params }) => storyNamed(ports, params.hash));
  serve.either(orderIssue, async (asked) => {
    const { confirm = '', dry_run, ...wished } = asked.body;
    if (dry_run) return { status: 200, body: await planStory(ports, wished) };
    const issued = await issueManual(actingFor(ports, asked), wished, confirm);
    return { status: 201, body: await storyOf(ports, issued) };
  });
  serve.json(orderApprove, async (asked) => {
    const approve = () => approveOrder(actingFor(ports, asked), asked.params.hash, asked.body);
    return storyOf(ports, await oneAtATime(approve));
  });
  serve.json(orderReject, async (asked) => {
    const reject = () => rejectOrder(actingFor(ports, asked), asked.params.hash, asked.body.reason);
    return storyOf(ports, await oneAtATime(reject));
  });
}
