import type { BudgetRequestState } from '../../common/budget-words.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import {
  budgetRequest,
  budgetRequestCommit,
  budgetRequestList,
  budgetRequestRelease,
  budgetList as listContract,
  budgetShow as showContract,
} from '../api/budgets-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, requireNodeName, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';

type Budget = AnswerOf<typeof showContract>;
type Request = AnswerOf<typeof budgetRequestList>['items'][number];

/** Every budget, and what is left of it. */
export function budgetsList(context: CommandContext): Promise<number> {
  return showList(
    context,
    {},
    {
      page: (api) => api.call(listContract, {}),
      heading: ['BUDGET', 'LIMIT', 'PER', 'USED', 'RESERVED', 'REMAINING', 'FREES AT'],
      cells: (budget) => [
        budget.name,
        String(budget.limit),
        budget.per,
        ...[budget.used, budget.reserved, budget.remaining].map(String),
        budget.frees_at ?? '-',
      ],
      none: 'no budgets: the setting "budgets" names them',
    },
  );
}

export function budgetsShow(context: CommandContext, name: string): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const budget = await api.call(showContract, { params: { name } });
    show(context, { ...budget, ...contradictedField() }, () => told(budget));
    return exitCodes.done;
  });
}

function told({ name, limit, per, used, reserved, remaining, frees_at }: Budget): string {
  const frees = frees_at === null ? '' : `; the next part comes back at ${frees_at}`;
  return `${name}: ${remaining} left of ${limit} per ${per}, ${used} used, ${reserved} reserved${frees}\n`;
}

export interface BudgetRequestsOptions extends ListOptions {
  readonly budget?: string;
  readonly state?: BudgetRequestState;
}

/** What was requested, newest first. */
export function budgetsRequests(context: CommandContext, options: BudgetRequestsOptions): Promise<number> {
  const { state } = options;
  const budget = options.budget === undefined ? undefined : requireNodeName(options.budget);
  return showList(context, options, {
    page: (api, at) => api.call(budgetRequestList, { query: { budget, state, ...at } }),
    heading: ['REQUEST', 'BUDGET', 'AMOUNT', 'STATE', 'BY', 'REQUESTED', 'EXPIRES', 'REASON'],
    cells: requestCells,
    none: 'no such requests',
  });
}

function requestCells(request: Request): readonly string[] {
  return [
    request.request_id,
    request.budget,
    String(request.amount),
    request.state,
    shownCell(request.actor),
    request.requested_at,
    request.expires_at,
    shownCell(request.reason),
  ];
}

export interface BudgetRequestOptions {
  readonly amount: string;
  readonly reason: string;
}

/** Reserves a part. The request's id stands alone in the first line, for `head -1`. */
export function budgetsRequest(context: CommandContext, name: string, options: BudgetRequestOptions): Promise<number> {
  const { reason } = options;
  const amount = requireAmount(options.amount);
  return withApi(context, async ({ api }) => {
    const reserved = await api.call(budgetRequest, { params: { name }, body: { amount, reason } });
    show(
      context,
      reserved,
      ({ request_id, expires_at, remaining }) =>
        `${request_id}\n\n${amount} of ${name} reserved until ${expires_at}; ${remaining} left.\nThen "budgets commit" or "budgets release" it.\n`,
    );
    return exitCodes.done;
  });
}

function requireAmount(text: string): number {
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text);
  throw new AppError('validation.request', `--amount ${text}: a whole number from 1 on`);
}

export function budgetsCommit(context: CommandContext, id: string): Promise<number> {
  return withApi(context, async ({ api }) => {
    show(context, await api.call(budgetRequestCommit, { params: { id } }), endedText);
    return exitCodes.done;
  });
}

export function budgetsRelease(context: CommandContext, id: string): Promise<number> {
  return withApi(context, async ({ api }) => {
    show(context, await api.call(budgetRequestRelease, { params: { id } }), endedText);
    return exitCodes.done;
  });
}

function endedText({ request_id, state, amount, budget }: Request): string {
  return `${request_id} is ${state}: ${amount} of ${budget}\n`;
}
