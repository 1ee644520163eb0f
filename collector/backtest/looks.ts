/** When each node is to be looked at again, in virtual time. */
export class Looks {
  readonly #dueMs = new Map<string, number>();
  /** No later than the earliest of them. */
  #earliestMs = Number.POSITIVE_INFINITY;

  /** Takes the place of what was planned for the node before. @param ms Unix milliseconds; undefined for not at all. */
  plan(node: string, ms: number | undefined): void {
    if (ms === undefined) this.#dueMs.delete(node);
    else {
      this.#dueMs.set(node, ms);
      this.#earliestMs = Math.min(this.#earliestMs, ms);
    }
  }

  /** No later than this, whatever else is planned for the node. */
  planBy(node: string, ms: number): void {
    if (ms < (this.#dueMs.get(node) ?? Number.POSITIVE_INFINITY)) this.plan(node, ms);
  }

  /** The next one at or before `ms`, which is no longer planned then; of several at once the first by name. */
  next(ms: number): { readonly node: string; readonly dueMs: number } | undefined {
    if (this.#earliestMs > ms) return undefined;
    let first: { node: string; dueMs: number } | undefined;
    for (const [node, dueMs] of this.#dueMs) {
      const isFirst = first === undefined || dueMs < first.dueMs || (dueMs === first.dueMs && node < first.node);
      if (isFirst) first = { node, dueMs };
    }
    this.#earliestMs = first?.dueMs ?? Number.POSITIVE_INFINITY;
    if (first === undefined || first.dueMs > ms) return undefined;
    this.#dueMs.delete(first.node);
    return first;
  }
}
