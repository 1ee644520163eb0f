/** Lengths of the windows that budgets are for. */
export const budgetPeriods = ['hour', 'day'] as const;

/** What can have become of a request. */
export const budgetRequestStates = ['reserved', 'committed', 'released', 'expired'] as const;

export type BudgetRequestState = (typeof budgetRequestStates)[number];
