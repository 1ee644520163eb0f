import { createInterface } from 'node:readline/promises';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import type { OrderAction } from '../../common/order.ts';
import { printable } from '../../common/printable.ts';
import { orderApprove, orderIssue } from '../api/orders-contract.ts';
import type { AnswerOf, Client } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, requireNodeName, show } from './context.ts';
import { type ApproveOptions, approvalBy, requirePrincipal } from './orders-approve.ts';
import { formatStory, holdLines, type OrderStory, orderLines } from './orders-show.ts';

export interface IssueOptions extends Pick<ApproveOptions, 'as' | 'key' | 'allowedSigners'> {
  readonly node: string;
  readonly action: OrderAction;
  readonly container: string;
  readonly reason: string;
  readonly dryRun?: boolean;
  readonly confirm?: string;
}

interface Wish {
  readonly node: string;
  readonly action: OrderAction;
  readonly container: string;
  readonly reason: string;
}

type Plan = Extract<AnswerOf<typeof orderIssue>, { readonly dry_run: true }>;

/** An operator's own order: planned only, or put on record after a typed confirmation, and signed at once where a key is given. */
export async function ordersIssue(context: CommandContext, options: IssueOptions): Promise<number> {
  const wish = {
    node: requireNodeName(options.node),
    action: options.action,
    container: options.container,
    reason: options.reason,
  };
  if (options.key !== undefined) requirePrincipal(options.as);
  return withApi(
    context,
    async ({ api }) => {
      if (options.dryRun === true) show(context, await planOf(api, wish), formatPlan);
      else show(context, await issueAndSign(context, api, { wish, options }), (it) => formatStory(it) + nextStep(it));
      return exitCodes.done;
    },
    options,
  );
}

async function planOf(api: Client, wish: Wish): Promise<Plan> {
  const plan = await api.call(orderIssue, { body: { ...wish, dry_run: true } });
  if ('dry_run' in plan) return plan;
  throw new AppError('collector.refused', `the collector has issued ${plan.hash} where it was asked for a plan`);
}

async function issueAndSign(
  context: CommandContext,
  api: Client,
  { wish, options }: { readonly wish: Wish; readonly options: IssueOptions },
): Promise<OrderStory> {
  const confirm = options.confirm ?? (await askForName(context, api, wish));
  const issued = await api.call(orderIssue, { body: { ...wish, confirm } });
  if ('dry_run' in issued)
    throw new AppError('collector.refused', 'the collector has only planned what was to be issued');
  if (options.key === undefined) return issued;
  try {
    const approval = await approvalBy(issued.hash, { as: requirePrincipal(options.as), key: options.key });
    return await api.call(orderApprove, { params: { hash: issued.hash }, body: approval });
  } catch (thrown) {
    context.stderr.write(`order ${issued.hash} is on record, and not approved\n`);
    throw thrown;
  }
}

/** Shows the plan first: what is typed then is typed about something. */
async function askForName({ stderr }: CommandContext, api: Client, wish: Wish): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new AppError(
      'validation.request',
      `confirm it with --confirm and the container's name, or --dry-run to only look; nothing was ordered`,
    );
  }
  stderr.write(formatPlan(await planOf(api, wish)));
  const terminal = createInterface({ input: process.stdin, output: stderr });
  try {
    return await terminal.question(`type the container's name (${printable(wish.container)}) to order this: `);
  } finally {
    terminal.close();
  }
}

function formatPlan({ held_up_by, ...order }: Plan): string {
  const lines = ['would order:', ...orderLines(order), ...holdLines(held_up_by)];
  return `${lines.join('\n')}\n`;
}

function nextStep({ hash, held_up_by }: { hash: string; held_up_by: readonly { code: string }[] }): string {
  if (!held_up_by.some(({ code }) => code === 'approvals')) return '';
  return `\nto approve it: sigilwatch-collector orders approve ${hash.slice(0, 12)} --as NAME --key FILE\n`;
}
