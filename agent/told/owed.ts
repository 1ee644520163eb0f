import pLimit from 'p-limit';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Journal, StateChange } from '../ports.ts';

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
  readonly #logger: Logger;
  readonly #oneAtATime = pLimit(1);
  readonly #debts: Debt[] = [];
  #saying: Debt | undefined;

  constructor(journal: Journal, logger: Logger) {
    this.#journal = journal;
    this.#logger = logger;
  }

  /** The newest that is not being said this moment. */
  get last(): Debt | undefined {
    const last = this.#debts.at(-1);
    return last === this.#saying ? undefined : last;
  }

  get size(): number {
    return this.#debts.length;
  }

  /** Where there is no room for it, it goes to the log. */
  add(statement: Statement, changes: readonly StateChange[] = []): void {
    if (this.#debts.length < limits.maxOwedStatements) this.#debts.push({ statement, changes });
    else this.#logger.error('agent.unsaid', { statement });
  }

  /** Says it after all that is owed. @throws AppError as {@link settle}; it is owed then */
  async say(statement: Statement, changes: readonly StateChange[] = []): Promise<void> {
    this.add(statement, changes);
    await this.settle();
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
