import { limits } from '../../common/limits.ts';

/** What was put on record of each node's alerts since some moment, Unix milliseconds. */
export interface Spent {
  readonly sinceMs: number;
  readonly words: ReadonlyMap<string, number>;
}

export const nothingSpent: Spent = { sinceMs: Number.NEGATIVE_INFINITY, words: new Map() };

interface Wish {
  /** Null for what is about no node: nobody but the operator can make more of that. */
  readonly node: string | null;
}

/**
 * What goes on record now of what is wished; the rest is for a later look. A node that says this and then that in turn, under ever new
 * names of stores, would otherwise fill the ledger and the queues, in which the alerts of other nodes wait behind its own. Pure.
 * @param wishes in the order in which they matter.
 */
export function affordable<T extends Wish>(
  wishes: readonly T[],
  before: Spent,
  nowMs: number,
): { readonly words: readonly T[]; readonly spent: Spent } {
  const isOver = nowMs < before.sinceMs || nowMs - before.sinceMs >= limits.alertWordsWindowMs;
  const spent = new Map(isOver ? [] : before.words);
  const words = wishes.filter(({ node }) => {
    if (node === null) return true;
    const already = spent.get(node) ?? 0;
    if (already >= limits.maxAlertWordsPerNode) return false;
    spent.set(node, already + 1);
    return true;
  });
  return { words, spent: { sinceMs: isOver ? nowMs : before.sinceMs, words: spent } };
}
