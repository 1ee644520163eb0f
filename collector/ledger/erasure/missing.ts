import type { KeyObject } from 'node:crypto';
import { AppError } from '../../../common/errors.ts';
import { keptKinds } from '../verify/entry.ts';
import { type Erasure, readErasures, type StoredStatement } from './record.ts';

/** An entry whose body is not in the database; `kind` where that is known. */
export interface Bodiless {
  readonly index: number;
  readonly kind?: string;
}

/**
 * Tells bodies that were erased from those that somebody took away: only what the collector has signed for was erased. Looks at
 * the statements when first asked about a body, and again for one that they do not cover, since erasures go on meanwhile.
 */
export class MissingStored {
  readonly #statements: () => Promise<readonly StoredStatement[]>;
  readonly #collectorKey: KeyObject;
  #erasures: readonly Erasure[] = [];

  constructor(statements: () => Promise<readonly StoredStatement[]>, collectorKey: KeyObject) {
    this.#statements = statements;
    this.#collectorKey = collectorKey;
  }

  /** @param entries whose bodies were found missing before this is called. @throws AppError `ledger.tampered` naming the first that was not erased. */
  async requireErased(entries: readonly Bodiless[]): Promise<void> {
    const kept = entries.find(({ kind }) => kind !== undefined && keptKinds.has(kind));
    if (kept !== undefined)
      throw tampered(kept.index, `its body is missing, and that of a ${kept.kind} entry is never erased`);
    if (entries.every(({ index }) => this.#covers(index))) return;
    this.#erasures = readErasures(await this.#statements(), this.#collectorKey);
    const taken = entries.find(({ index }) => !this.#covers(index));
    if (taken !== undefined)
      throw tampered(taken.index, 'its body is missing, and no entry ledger.erased says that it was erased');
  }

  #covers(index: number): boolean {
    return this.#erasures.some(({ from, to, index: said }) => from <= index && index < to && to <= said);
  }
}

/** Something stored about this entry is not as it was logged. */
export function tampered(index: number, problem: string): AppError {
  return new AppError(
    'ledger.tampered',
    `entry ${index}: ${problem}; "sigilwatch-collector ledger verify" tells more`,
    { details: { index } },
  );
}
