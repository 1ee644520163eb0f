import { exitCodes } from '../../common/exit-codes.ts';
import { approvalText } from '../../common/order.ts';
import { findOrder } from '../enforcement/operator.ts';
import { storyNamed } from '../enforcement/story.ts';
import type { OrderStory } from '../enforcement/view.ts';
import { type CommandContext, show } from './context.ts';
import { contradictedField } from './contradicted.ts';
import { lookAtEnforcement } from './enforcing.ts';
import { shownCell } from './ledger-replay.ts';

/** One order with its whole story, oldest first, and what holds it up. */
export async function ordersShow(context: CommandContext, name: string): Promise<number> {
  const contradicted = await lookAtEnforcement(context, async (looking) => {
    const story = await storyNamed(looking, name);
    show(context, { ...story, ...contradictedField(looking.contradicted) }, () => formatStory(story));
    return looking.contradicted;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

/** Prints what approvers sign, byte for byte. */
export async function ordersApprovalText(context: CommandContext, name: string): Promise<number> {
  const contradicted = await lookAtEnforcement(context, async (looking) => {
    const { hash } = await findOrder(looking, name);
    const text = approvalText(hash);
    show(context, { hash, approval_text: text, ...contradictedField(looking.contradicted) }, () => text);
    return looking.contradicted;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
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
