import { exitCodes } from '../../common/exit-codes.ts';
import { orderActions } from '../../common/order.ts';
import { type OrderView, orderStatuses, orderView } from '../enforcement/view.ts';
import { type CommandContext, formatTable, requireNodeName, show } from './context.ts';
import { contradictedField } from './contradicted.ts';
import { lookAtEnforcement, moreLine, requireLimit, requireWord } from './enforcing.ts';
import { shownCell } from './ledger-replay.ts';

export interface OrdersListOptions {
  readonly node?: string;
  readonly container?: string;
  readonly action?: string;
  readonly status?: string;
  readonly limit?: string;
}

const shownHashChars = 12;

/** Orders, newest first. */
export async function ordersList(context: CommandContext, options: OrdersListOptions): Promise<number> {
  const filter = {
    node: options.node === undefined ? undefined : requireNodeName(options.node),
    container: options.container,
    action: requireWord('--action', orderActions, options.action),
    status: requireWord('--status', orderStatuses, options.status),
  };
  const limit = requireLimit(options.limit);
  const contradicted = await lookAtEnforcement(context, async ({ store, nowMs, contradicted: found }) => {
    const stored = await store.listOrders(filter, { before: undefined, limit: limit + 1 }, nowMs);
    const items = stored.slice(0, limit).map(orderView);
    const more = stored.length > limit;
    show(context, { items, more, ...contradictedField(found) }, () => formatOrders(items) + moreLine(more));
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

/** Orders as a table. */
export function formatOrders(orders: readonly OrderView[]): string {
  if (orders.length === 0) return 'no such orders\n';
  const cells = orders.map((order) => [
    order.hash.slice(0, shownHashChars),
    order.issued_at,
    order.node,
    order.action,
    shownCell(order.container),
    order.status,
    `${order.approvals.length}/${order.approvals_needed}`,
    order.origin,
    shownCell(order.reason),
  ]);
  const heading = ['ORDER', 'ISSUED', 'NODE', 'ACTION', 'CONTAINER', 'STATUS', 'APPROVED', 'ORIGIN', 'REASON'];
  return formatTable([heading, ...cells]);
}
