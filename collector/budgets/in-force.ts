import { setTimeout as delay } from 'node:timers/promises';
import { type AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { type BudgetSources, digestOf, requireInForce } from './budgets.ts';

/** Puts the budgets of a collector that has started in force, for all collectors of its database. */
export async function putInForce(sources: BudgetSources, logger: Logger): Promise<void> {
  const { store, budgets } = sources;
  const digest = digestOf(budgets);
  const before = await store.inForce();
  await store.putInForce(digest);
  if (before !== undefined && before !== digest) logger.warn('budgets.changed', { budgets: Object.keys(budgets) });
}

/** Says in the log when another collector puts others in force, and when they are these again. */
export async function watchInForce(sources: BudgetSources, logger: Logger, signal: AbortSignal): Promise<void> {
  let told: AppError['code'] | undefined;
  while (!signal.aborted) {
    await delay(limits.budgetsInForceLookMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    const error = await requireInForce(sources).then(() => undefined, toAppError);
    if (error?.code === told) continue;
    if (error === undefined) logger.info('budgets.in_force');
    else logger.error('budgets.not_in_force', { error });
    told = error?.code;
  }
}
