import { createInterface } from 'node:readline/promises';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { type OrderAction, orderActions } from '../../common/order.ts';
import { printable } from '../../common/printable.ts';
import { approveOrder } from '../enforcement/approvals.ts';
import { issueManual, type ManualWish } from '../enforcement/manual.ts';
import type { OperatorPorts } from '../enforcement/operator.ts';
import type { StoredOrder } from '../enforcement/ports.ts';
import { type PlanStory, planStory, storyOf } from '../enforcement/story.ts';
import { type CommandContext, requireNodeName, show } from './context.ts';
import { operate, requireWord } from './enforcing.ts';
import { type ApproveOptions, approvalBy, requirePrincipal } from './orders-approve.ts';
import { formatStory, holdLines, orderLines } from './orders-show.ts';

export interface IssueOptions extends Pick<ApproveOptions, 'as' | 'key' | 'allowedSigners'> {
  readonly node: string;
  readonly action: string;
  readonly container: string;
  readonly reason: string;
  readonly dryRun?: boolean;
  readonly confirm?: string;
}

/** An operator's own order: planned only, or put on record after a typed confirmation, and signed at once where a key is given. */
export async function ordersIssue(context: CommandContext, options: IssueOptions): Promise<number> {
  const wish = {
    node: requireNodeName(options.node),
    action: requireAction(options.action),
    container: options.container,
    reason: options.reason,
  };
  if (options.key !== undefined) requirePrincipal(options.as);
  await operate(context, options, async (ports) => {
    if (options.dryRun === true) {
      show(context, await planStory(ports, wish), formatPlan);
      return;
    }
    const story = await storyOf(ports, await issueAndSign(context, ports, { wish, options }));
    show(context, story, (it) => formatStory(it) + nextStep(it));
  });
  return exitCodes.done;
}

async function issueAndSign(
  context: CommandContext,
  ports: OperatorPorts,
  { wish, options }: { readonly wish: ManualWish; readonly options: IssueOptions },
): Promise<StoredOrder> {
  const confirmed = options.confirm ?? (await askForName(context, ports, wish));
  const issued = await issueManual(ports, wish, confirmed);
  if (options.key === undefined) return issued;
  try {
    const approval = await approvalBy(issued.hash, { as: requirePrincipal(options.as), key: options.key });
    return await approveOrder(ports, issued.hash, approval);
  } catch (thrown) {
    context.stderr.write(`order ${issued.hash} is on record, and not approved\n`);
    throw thrown;
  }
}

function requireAction(text: string): OrderAction {
  const action = requireWord('--action', orderActions, text);
  if (action === undefined) throw new AppError('validation.request', 'say what is to be done with --action');
  return action;
}

/** Shows the plan first: what is typed then is typed about something. */
async function askForName({ stderr }: CommandContext, ports: OperatorPorts, wish: ManualWish): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new AppError(
      'validation.request',
      `confirm it with --confirm and the container's name, or --dry-run to only look; nothing was ordered`,
    );
  }
  stderr.write(formatPlan(await planStory(ports, wish)));
  const terminal = createInterface({ input: process.stdin, output: stderr });
  try {
    return await terminal.question(`type the container's name (${printable(wish.container)}) to order this: `);
  } finally {
    terminal.close();
  }
}

function formatPlan({ held_up_by, ...order }: PlanStory): string {
  const lines = ['would order:', ...orderLines(order), ...holdLines(held_up_by)];
  return `${lines.join('\n')}\n`;
}

function nextStep({ hash, held_up_by }: { hash: string; held_up_by: readonly { code: string }[] }): string {
  if (!held_up_by.some(({ code }) => code === 'approvals')) return '';
  return `\nto approve it: sigilwatch-collector orders approve ${hash.slice(0, 12)} --as NAME --key FILE\n`;
}
