import { z } from 'zod';
import { budgetPeriods } from '../../common/budget-words.ts';
import { nodeName } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';

const budget = z.strictObject({
  limit: z.int().min(1).max(limits.maxBudgetAmount).describe('How much may be destroyed within any such time'),
  per: z.enum(budgetPeriods),
});

/** What may be destroyed at all, by name. */
export const budgetSettings = z
  .record(nodeName, budget)
  .refine((budgets) => Object.keys(budgets).length <= limits.maxBudgets, `at most ${limits.maxBudgets} budgets`)
  .default({})
  .describe(
    'Budgets of destructive actions by name, each a limit per hour or day; manual-orders is for orders by hand',
  );

export type BudgetSettings = z.output<typeof budgetSettings>;
