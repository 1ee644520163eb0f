import pLimit from 'p-limit';
import type { Statement } from '../common/kinds.ts';
import { limits } from '../common/limits.ts';
import type { Journal, StateChange } from './ports.ts';

/** A statement made once, and what is remembered when it is said. */
export interface Debt {
  readonly statement: Statement;
  readonly changes: readonly StateChange[];
}

/**
 * What has happened and a refusing journal has not taken yet, in order. In memory only: what a crash takes with it shows
 * as missing minutes at the next start.
 */
export class Owed {
  readonly #journal: Journal;
  readonly #oneAtATime = pLimit(1);
  readonly #debts: Debt[] = [];
  #saying: Debt | undefined;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** The newest that is not being said this moment. */
  get last(): Debt | undefined {
    const last = this.#debts.at(-1);
    return last === this.#saying ? undefined : last;
  }

  get size(): number {
    return this.#debts.length;
  }

  /** @returns whether there was room for it. */
  add(statement: Statement, changes: readonly StateChange[] = []): boolean {
    if (this.#debts.length >= limits.maxOwedStatements) return false;
    this.#debts.push({ statement, changes });
    return true;
  }

  /** Puts `debt` in the place of `last`. */
  replaceLast(debt: Debt): void {
    this.#debts.splice(-1, 1, debt);
  }

  /** Says what is owed. @throws AppError as `Journal.append`; the statement that was refused and all after it stay. */
  settle(): Promise<void> {
    return this.#oneAtATime(async () => {
      try {
        for (let debt = this.#debts[0]; debt !== undefined; debt = this.#debts[0]) {
          this.#saying = debt;
          await this.#journal.append([debt.statement], debt.changes);
          this.#debts.shift();
        }
      } finally {
        this.#saying = undefined;
      }
    });
  }
}
