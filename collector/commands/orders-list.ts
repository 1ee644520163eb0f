import type { OrderAction, OrderStatus } from '../../common/order.ts';
import { orderList } from '../api/orders-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { type CommandContext, optionalNodeName } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';

export interface OrdersListOptions extends ListOptions {
  readonly node?: string;
  readonly container?: string;
  readonly action?: OrderAction;
  readonly status?: OrderStatus;
}

type Order = AnswerOf<typeof orderList>['items'][number];

const shownHashChars = 12;

export const orderHeading = [
  'ORDER',
  'ISSUED',
  'NODE',
  'ACTION',
  'CONTAINER',
  'STATUS',
  'APPROVED',
  'ORIGIN',
  'REASON',
];

/** Orders, newest first. */
export function ordersList(context: CommandContext, options: OrdersListOptions): Promise<number> {
  const { container, action, status } = options;
  const query = { node: optionalNodeName(options.node), container, action, status };
  return showList(context, options, {
    page: (api, at) => api.call(orderList, { query: { ...query, ...at } }),
    heading: orderHeading,
    cells: orderCells,
    none: 'no such orders',
  });
}

/** A row of a table of orders. */
export function orderCells(order: Order): readonly string[] {
  return [
    order.hash.slice(0, shownHashChars),
    order.issued_at,
    order.node,
    order.action,
    shownCell(order.container),
    order.status,
    `${order.approvals.length}/${order.approvals_needed}`,
    order.origin,
    shownCell(order.reason),
  ];
}
