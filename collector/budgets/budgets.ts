import { createHash } from 'node:crypto';
import { canonicalText } from '../../common/canonical.ts';
import { AppError } from '../../common/errors.ts';
import { recordAct } from '../auth/audit.ts';
import type { RandomBytes } from '../auth/tokens.ts';
import { type OperatorPorts, requireReason } from '../enforcement/operator.ts';
import type { Budget, BudgetRequest, BudgetStore, BudgetUsage, BudgetWindow } from './ports.ts';
import type { BudgetSettings } from './settings.ts';

/** The budget of destructive orders that are given by hand, where there is one of this name. */
export const manualOrders = 'manual-orders';

/** What it takes to look at budgets. */
export interface BudgetSources {
  readonly store: BudgetStore;
  readonly budgets: BudgetSettings;
}

/** What it takes to use them; `actor` and `requestId` as {@link recordAct} has them. */
export interface BudgetPorts extends BudgetSources, Pick<OperatorPorts, 'ledger' | 'actor' | 'requestId'> {
  readonly randomBytes: RandomBytes;
}

export interface BudgetState extends Budget, BudgetUsage {
  readonly remaining: number;
}

const periodMs = { hour: 3_600_000, day: 86_400_000 } as const satisfies Record<Budget['per'], number>;

const windowOf = ({ name, per }: Budget): BudgetWindow => ({ name, perMs: periodMs[per] });

/** By name. */
export function budgetsOf(settings: BudgetSettings): readonly Budget[] {
  const named = Object.entries(settings).map(([name, { limit, per }]) => ({ name, limit, per }));
  return named.sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** What is left; a limit that was lowered may be passed already. Pure. */
export function stateOf(budget: Budget, usage: BudgetUsage): BudgetState {
  return { ...budget, ...usage, remaining: Math.max(0, budget.limit - usage.used - usage.reserved) };
}

/** SHA-256 of the settings, in hexadecimal digits: the same for the same budgets, in whatever order they are written. */
export function digestOf(settings: BudgetSettings): string {
  return createHash('sha256').update(canonicalText(settings)).digest('hex');
}

/** @throws AppError `state.conflict` where a collector with other budgets has started since, on the same database. */
export async function requireInForce({ store, budgets }: BudgetSources): Promise<void> {
  const inForce = await store.inForce();
  if (inForce !== undefined && inForce !== digestOf(budgets)) throw othersInForce();
}

function othersInForce(): AppError {
  const message =
    'other budgets are in force: a collector of this database was started later, with another setting "budgets". ' +
    'Give all of them, and commands that work on a data directory, the same one, and start them anew; until then nothing is given away here';
  return new AppError('state.conflict', message);
}

/** @throws AppError `resource.not_found`. */
export function budgetNamed(settings: BudgetSettings, name: string): Budget {
  const found = budgetsOf(settings).find((budget) => budget.name === name);
  if (found !== undefined) return found;
  throw new AppError('resource.not_found', `there is no budget ${name}; the setting "budgets" names them`);
}

/** @throws AppError `resource.not_found`; `state.conflict` as {@link requireInForce}. */
export async function budgetState(sources: BudgetSources, name: string): Promise<BudgetState> {
  const { store, budgets } = sources;
  const budget = budgetNamed(budgets, name);
  await requireInForce(sources);
  return stateOf(budget, await store.usage(windowOf(budget)));
}

/** @throws AppError `resource.not_found`. */
export async function findRequest({ store }: Pick<BudgetSources, 'store'>, id: string): Promise<BudgetRequest> {
  const found = await store.find(id);
  if (found !== undefined) return found;
  throw new AppError('resource.not_found', `there is no budget request ${id.slice(0, 64)}`);
}

/**
 * Reserves a part of a budget, and tells so once that is on record. A crash in between leaves an amount that is taken until its
 * time is over, and that nobody can use.
 * @throws AppError `resource.not_found`; `validation.request` without a reason; `state.conflict` with `details.remaining`, or
 *   as {@link requireInForce}.
 */
export async function requestBudget(
  ports: BudgetPorts,
  wish: { readonly budget: string; readonly amount: number; readonly reason: string },
): Promise<BudgetRequest> {
  const { store, actor, budgets, randomBytes } = ports;
  const budget = budgetNamed(budgets, wish.budget);
  const asked = { id: randomBytes(16).toString('hex'), amount: wish.amount, reason: requireReason(wish.reason), actor };
  const by = { budget: { ...windowOf(budget), limit: budget.limit }, digest: digestOf(budgets) };
  const answer = await store.take({ ...asked, ...by });
  if (answer.is === 'others in force') throw othersInForce();
  if (answer.is === 'too much') throw notEnough(budget, asked.amount, answer.remaining);
  try {
    await onRecord(ports, 'requested', { ...asked, budget: budget.name });
  } catch (thrown) {
    // What cannot be given back now comes back by itself.
    await store.forget(asked.id).catch(() => {});
    throw thrown;
  }
  const reserved = await store.confirm(asked.id);
  if (reserved !== undefined) return reserved;
  throw new AppError('state.conflict', 'the time of this request was over before it was on record; ask again', {
    retryable: true,
  });
}

function notEnough({ name, limit, per }: Budget, amount: number, remaining: number): AppError {
  const message = `the budget ${name} has ${remaining} left of ${limit} per ${per}, and ${amount} was asked for`;
  return new AppError('state.conflict', message, { details: { budget: name, limit, per, amount, remaining } });
}

/**
 * What was reserved is used now. A second time changes nothing.
 * @throws AppError `resource.not_found`; `state.conflict` for one that was released, or whose time is over.
 */
export async function commitRequest(ports: BudgetPorts, id: string): Promise<BudgetRequest> {
  const found = await findRequest(ports, id);
  if (found.state === 'committed') return found;
  if (found.state !== 'reserved') throw isOver(found);
  await onRecord(ports, 'committed', found);
  const committed = await ports.store.commit(id, found.budget);
  if (committed !== undefined) return committed;
  const since = await findRequest(ports, id);
  if (since.state === 'committed') return since;
  throw isOver(since);
}

/**
 * Gives back what was reserved. A second time changes nothing, nor does it for one whose time is over.
 * @throws AppError `resource.not_found`; `state.conflict` for one that was committed.
 */
export async function releaseRequest(ports: BudgetPorts, id: string): Promise<BudgetRequest> {
  const found = await findRequest(ports, id);
  if (found.state !== 'reserved') return requireUnused(found);
  await onRecord(ports, 'released', found);
  return (await ports.store.release(id)) ?? requireUnused(await findRequest(ports, id));
}

function requireUnused(request: BudgetRequest): BudgetRequest {
  if (request.state === 'committed') throw isOver(request);
  return request;
}

function isOver({ id, state }: BudgetRequest): AppError {
  const why = { expired: 'its time is over; ask again', released: 'ask again', committed: 'it was used', reserved: '' };
  return new AppError('state.conflict', `the budget request ${id} is ${state}: ${why[state]}`, {
    details: { id, state },
  });
}

/** Before anything is done: a crash leaves an entry of what was not done, never a deed without an entry. */
function onRecord(
  ports: BudgetPorts,
  step: 'requested' | 'committed' | 'released',
  { id, budget, amount, reason }: Pick<BudgetRequest, 'id' | 'budget' | 'amount' | 'reason'>,
): Promise<void> {
  return recordAct(ports, { event: `budget.${step}`, subject: `${amount} of ${budget}, ${id}`, detail: reason });
}

/**
 * Takes one of the budget of manual orders, before the order is given; where there is no such budget, nothing. Used is used:
 * an order that fails afterwards does not bring it back.
 * @throws AppError `state.conflict` when nothing is left, or as {@link requireInForce}.
 */
export async function spendOnOrder(ports: BudgetPorts, reason: string): Promise<void> {
  // Where others have a budget for it, having none is no permission.
  if (!Object.hasOwn(ports.budgets, manualOrders)) return requireInForce(ports);
  const { id } = await requestBudget(ports, { budget: manualOrders, amount: 1, reason });
  await commitRequest(ports, id);
}
