import { z } from 'zod';
import { budgetPeriods, budgetRequestStates } from '../../common/budget-words.ts';
import { nodeName, ownText } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { pageParameters } from './fields.ts';

const budget = z
  .object({
    name: z.string(),
    limit: z.int().describe('for any window of this length'),
    per: z.enum(budgetPeriods),
    used: z.int().describe('committed within the window that ends now'),
    reserved: z.int().describe('requested, and neither committed nor released'),
    remaining: z.int(),
    frees_at: moment.nullable().describe('when the next part comes back by itself; null while nothing is taken'),
  })
  .meta({ id: 'Budget' });

const request = z
  .object({
    request_id: z.string(),
    budget: z.string(),
    amount: z.int(),
    reason: z.string(),
    actor: z.string(),
    state: z.enum(budgetRequestStates),
    requested_at: moment,
    expires_at: moment.describe('until then it is reserved'),
    ended_at: moment.nullable().describe('when it was committed or released'),
  })
  .meta({ id: 'BudgetRequest' });

const reserved = request
  .extend({ remaining: z.int().describe('of the budget, after this') })
  .meta({ id: 'BudgetReservation' });

const named = z.object({ name: pathText });
const byId = z.object({ id: pathText });

export const budgetList = contract({
  operation: 'budgets.list',
  method: 'get',
  path: '/api/v1/budgets',
  permission: 'budgets.read',
  summary: 'The budgets of destructive actions, by name',
  answers: { 200: z.object({ items: z.array(budget) }) },
});

export const budgetShow = contract({
  operation: 'budgets.show',
  method: 'get',
  path: '/api/v1/budgets/:name',
  permission: 'budgets.read',
  summary: 'What is left of a budget now',
  params: named,
  answers: { 200: budget },
});

export const budgetRequest = contract({
  operation: 'budgets.request',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/budgets/:name/requests',
  permission: 'budgets.use',
  summary: 'Reserve a part of a budget, before something is destroyed; 409 with details.remaining when it is not there',
  params: named,
  body: z.strictObject({ amount: z.int().min(1).max(limits.maxBudgetAmount), reason: ownText }),
  bodyIs: 'a request',
  answers: { 201: reserved },
});

export const budgetRequestList = contract({
  operation: 'budget_requests.list',
  method: 'get',
  path: '/api/v1/budget-requests',
  permission: 'budgets.read',
  summary: 'Requests of parts of budgets, newest first',
  query: z.strictObject({
    ...pageParameters,
    budget: nodeName.optional(),
    state: z.enum(budgetRequestStates).optional(),
  }),
  answers: { 200: pageOf(request) },
});

export const budgetRequestShow = contract({
  operation: 'budget_requests.show',
  method: 'get',
  path: '/api/v1/budget-requests/:id',
  permission: 'budgets.read',
  summary: 'What became of a request',
  params: byId,
  answers: { 200: request },
});

export const budgetRequestCommit = contract({
  operation: 'budget_requests.commit',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/budget-requests/:id/commit',
  permission: 'budgets.use',
  summary: 'Say that it is used; a second time changes nothing, and one whose time is over is refused',
  params: byId,
  answers: { 200: request },
});

export const budgetRequestRelease = contract({
  operation: 'budget_requests.release',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/budget-requests/:id/release',
  permission: 'budgets.use',
  summary: 'Give back what was reserved; a second time changes nothing',
  params: byId,
  answers: { 200: request },
});
