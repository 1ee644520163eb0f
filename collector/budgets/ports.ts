import type { BudgetRequestState, budgetPeriods } from '../../common/budget-words.ts';

export interface Budget {
  readonly name: string;
  readonly limit: number;
  readonly per: (typeof budgetPeriods)[number];
}

/** What somebody has asked of a budget. */
export interface BudgetRequest {
  readonly id: string;
  /** Its place among all requests. */
  readonly seq: number;
  readonly budget: string;
  readonly amount: number;
  readonly reason: string;
  readonly actor: string;
  readonly state: BudgetRequestState;
  readonly requestedAtMs: number;
  readonly expiresAtMs: number;
  /** When it was committed or released. */
  readonly endedAtMs: number | null;
}

export interface BudgetUsage {
  /** Committed within the window that ends now. */
  readonly used: number;
  readonly reserved: number;
  /** When the next part of it comes back by itself; null while nothing is taken. */
  readonly freesAtMs: number | null;
}

export interface BudgetWindow {
  readonly name: string;
  readonly perMs: number;
}

export interface BudgetWish {
  /** Of all the budgets by which it is judged. */
  readonly digest: string;
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly budget: BudgetWindow & { readonly limit: number };
  readonly amount: number;
  readonly reason: string;
  readonly actor: string;
}

/** What came of a wish: taken; or what is left; or nothing, because other budgets are in force. */
export type BudgetTaken =
  | { readonly is: 'taken' }
  | { readonly is: 'too much'; readonly remaining: number }
  | { readonly is: 'others in force' };

export interface BudgetFilter {
  readonly budget?: string | undefined;
  readonly state?: BudgetRequestState | undefined;
}

/**
 * Where requests are kept, durably, for all collectors of one database, and by its clock alone. What is taken and committed in
 * any window, together with what is reserved, never passes the limit, however many ask at once. A request is taken first and
 * counts against the limit from then on; it is nobody's to use before it was confirmed.
 */
export interface BudgetStore {
  /** From now on amounts are taken by these budgets and by no others, in all collectors. */
  putInForce(digest: string): Promise<void>;
  /** Digest of the budgets in force; undefined before any collector has started. */
  inForce(): Promise<string | undefined>;
  /** Takes the amount, if it is there and the budgets are those in force. */
  take(wish: BudgetWish): Promise<BudgetTaken>;
  /** What was taken is reserved from now on; undefined once its time is over. */
  confirm(id: string): Promise<BudgetRequest | undefined>;
  /** As if it had never been taken; only before it is confirmed. */
  forget(id: string): Promise<void>;
  /** Confirmed ones only. */
  find(id: string): Promise<BudgetRequest | undefined>;
  /** Undefined when it is not reserved any more. */
  commit(id: string, budget: string): Promise<BudgetRequest | undefined>;
  /** Undefined when it is not reserved any more. */
  release(id: string): Promise<BudgetRequest | undefined>;
  usage(budget: BudgetWindow): Promise<BudgetUsage>;
  /** Newest first, below a place. */
  list(
    filter: BudgetFilter,
    page: { readonly after: number | undefined; readonly limit: number },
  ): Promise<readonly BudgetRequest[]>;
}
