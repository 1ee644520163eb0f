import { rfc3339 } from '../../common/clock.ts';
import { count } from '../../common/fields.ts';
import {
  budgetList,
  budgetRequest,
  budgetRequestCommit,
  budgetRequestList,
  budgetRequestRelease,
  budgetRequestShow,
  budgetShow,
} from '../api/budgets-contract.ts';
import {
  type BudgetPorts,
  type BudgetState,
  budgetState,
  budgetsOf,
  commitRequest,
  findRequest,
  releaseRequest,
  requestBudget,
  requireInForce,
} from '../budgets/budgets.ts';
import type { BudgetRequest } from '../budgets/ports.ts';
import { actingFor } from './acting.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

const paging: Paging<BudgetRequest, number, ReturnType<typeof requestView>> = {
  list: 'budget-requests',
  key: count,
  keyOf: ({ seq }) => seq,
  show: requestView,
};

/** Budgets of destructive actions: what is left of them, and request, commit and release of parts. */
export function addBudgetsRoutes(serve: Serve, ports: BudgetPorts): void {
  serve.json(budgetList, async () => {
    await requireInForce(ports);
    const states = await Promise.all(budgetsOf(ports.budgets).map(({ name }) => budgetState(ports, name)));
    return { items: states.map(budgetView) };
  });
  serve.json(budgetShow, async ({ params }) => budgetView(await budgetState(ports, params.name)));
  serve.json(budgetRequest, async (asked) => {
    const { name } = asked.params;
    const request = await requestBudget(actingFor(ports, asked), { budget: name, ...asked.body });
    const { remaining } = await budgetState(ports, name);
    return { ...requestView(request), remaining };
  });
  serve.json(budgetRequestList, async ({ query: { budget, state, ...rest } }) =>
    page(paging, rest, (at) => ports.store.list({ budget, state }, at)),
  );
  serve.json(budgetRequestShow, async ({ params }) => requestView(await findRequest(ports, params.id)));
  serve.json(budgetRequestCommit, async (asked) =>
    requestView(await commitRequest(actingFor(ports, asked), asked.params.id)),
  );
  serve.json(budgetRequestRelease, async (asked) =>
    requestView(await releaseRequest(actingFor(ports, asked), asked.params.id)),
  );
}

function budgetView({ freesAtMs, ...state }: BudgetState) {
  return { ...state, frees_at: optionalTime(freesAtMs) };
}

function requestView({ id, seq: _, requestedAtMs, expiresAtMs, endedAtMs, ...rest }: BudgetRequest) {
  return {
    request_id: id,
    ...rest,
    requested_at: rfc3339(requestedAtMs),
    expires_at: rfc3339(expiresAtMs),
    ended_at: optionalTime(endedAtMs),
  };
}

function optionalTime(unixMs: number | null): string | null {
  return unixMs === null ? null : rfc3339(unixMs);
}
