import type { RefusalCode } from './refused.ts';

/** What the executor has done since it started. */
export interface Counts {
  /** By call. */
  readonly passed: Readonly<Record<string, number>>;
  /** By {@link RefusalCode}. */
  readonly refused: Readonly<Record<string, number>>;
  /** Calls that were permitted and came to nothing, by how. */
  readonly failed: Readonly<Record<string, number>>;
}

/** The keys are few: they are calls and codes, never anything that a client sends. */
export class Counters {
  readonly #passed = new Map<string, number>();
  readonly #refused = new Map<string, number>();
  readonly #failed = new Map<string, number>();

  passed(call: string): void {
    addOne(this.#passed, call);
  }

  refused(code: RefusalCode): void {
    addOne(this.#refused, code);
  }

  failed(how: string): void {
    addOne(this.#failed, how);
  }

  all(): Counts {
    return {
      passed: Object.fromEntries(this.#passed),
      refused: Object.fromEntries(this.#refused),
      failed: Object.fromEntries(this.#failed),
    };
  }
}

function addOne(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
