/** What may still be read, whoever has filled the store and whatever its MANIFEST claims. */
export interface ReadingBudget {
  /** Of files, in bytes. */
  left: number;
}

/** False when that is more than is left; nothing is taken then. */
export function spend(budget: ReadingBudget, bytes: number): boolean {
  if (bytes > budget.left) return false;
  budget.left -= bytes;
  return true;
}
