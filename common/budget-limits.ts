/** Bounds of budgets for destructive actions; part of `limits`. */
export const budgetLimits = {
  maxBudgets: 64,
  /** Of one budget, in one hour or day. */
  maxBudgetAmount: 100_000,
  /** What was requested and is neither committed nor released by then is given back. */
  budgetReservationMs: 15 * 60_000,
  /** How long requests that are over stay in the list; the ledger has them for ever. More than the longest window. */
  budgetRequestKeptMs: 30 * 86_400_000,
  /** Old requests that are forgotten with each new one. */
  budgetSweepRows: 100,
  /** How often it is looked whether the budgets of this collector are those in force. */
  budgetsInForceLookMs: 60_000,
} as const;
