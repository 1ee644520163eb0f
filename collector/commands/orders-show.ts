import { exitCodes } from '../../common/exit-codes.ts';
import { orderShow } from '../api/orders-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';

export type OrderStory = AnswerOf<typeof orderShow>;

/** One order with its whole story, oldest first, and what holds it up. */
export function ordersShow(context: CommandContext, hash: string): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const story = await api.call(orderShow, { params: { hash } });
    show(context, { ...story, ...contradictedField() }, () => formatStory(story));
    return exitCodes.done;
  });
}

/** Prints what approvers sign, byte for byte. */
export function ordersApprovalText(context: CommandContext, name: string): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const { hash, approval_text } = await api.call(orderShow, { params: { hash: name } });
    show(context, { hash, approval_text, ...contradictedField() }, () => approval_text);
    return exitCodes.done;
  });
}

/** An order for people. */
export function formatStory(story: OrderStory): string {
  const lines = [
    `order ${story.hash}: ${story.status}`,
    ...orderLines(story),
    '',
    `${story.issued_at}  entry ${story.index}: ${story.origin === 'local' ? 'decided by the node' : 'issued'}`,
    ...story.events.map((event) => `${event.at}  entry ${event.index}: ${shownCell(eventText(event))}`),
    ...holdLines(story.held_up_by),
  ];
  return `${lines.join('\n')}\n`;
}

type Planned = Omit<OrderStory, 'hash' | 'index' | 'status' | 'approvals' | 'approval_text' | 'events' | 'held_up_by'>;

/** What an order says, a line each. */
export function orderLines(order: Planned): readonly string[] {
  const { drift, container_id } = order;
  return [
    `  ${order.action} ${shownCell(order.container)} on ${order.node}`,
    `  container id  ${container_id ?? 'none: it is not there'}`,
    `  because       ${shownCell(order.reason)}`,
    `  decided by    ${shownCell(order.by)} (${order.origin}), under commit ${shownCell(order.commit)}`,
    ...(drift === null ? [] : [`  drift         ${drift.kind}, ${shownCell(drift.id)}`]),
    `  approvals     ${order.approvals_needed} needed`,
    `  expires       ${order.expires_at}`,
  ];
}

export function holdLines(holds: OrderStory['held_up_by']): readonly string[] {
  return holds.length === 0 ? [] : ['', 'held up:', ...holds.map(({ reason }) => `  ${shownCell(reason)}`)];
}

function eventText(event: OrderStory['events'][number]): string {
  switch (event.kind) {
    case 'order.approved':
      return `approved by ${event.approver}`;
    case 'order.rejected':
      return `rejected by ${event.actor}: ${event.reason}`;
    case 'order.result':
      return resultText(event);
    default:
      return event satisfies never;
  }
}

type Result = Extract<OrderStory['events'][number], { kind: 'order.result' }>;

function resultText({ node, outcome, code, reason, evidence, container_id }: Result): string {
  const parts = [
    `${outcome}${code === null ? '' : ` (${code})`}, says ${node}: ${reason}`,
    ...(container_id === null ? [] : [`new container ${container_id.slice(0, 12)}`]),
    ...(evidence === null ? [] : [`evidence ${evidence.sha256}, ${evidence.bytes} bytes`]),
  ];
  return parts.join('; ');
}
