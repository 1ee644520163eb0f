import { limits } from '../../../common/limits.ts';
import type { Erasure } from '../erasure/record.ts';

/** Neighbours without body. */
export interface Gap {
  readonly from: number;
  readonly to: number;
  /** Of the entry `from` in the file. */
  readonly line: number;
}

/**
 * Bodies that an export does not hold, until an entry in it says that they were erased. It comes after them, so they are
 * remembered: as gaps, since erasures leave out little of what they span.
 */
export class MissingBodies {
  #gaps: Gap[] = [];
  #accounted = 0;
  #accountedTo = 0;

  /**
   * To be told in order.
   * @returns false when they are in more places than is remembered, which no erasure leaves.
   */
  add(index: number, line: number): boolean {
    const last = this.#gaps.at(-1);
    if (last?.to === index) {
      this.#gaps[this.#gaps.length - 1] = { ...last, to: index + 1 };
      return true;
    }
    if (this.#gaps.length >= limits.maxExportGaps) return false;
    this.#gaps.push({ from: index, to: index + 1, line });
    return true;
  }

  /**
   * Takes the word of an erasure, which has to be proved to be the collector's.
   * @returns how many bodies before its end are missing beyond those that went: of some kinds bodies stay.
   */
  account({ from, to, keptBodies }: Pick<Erasure, 'from' | 'to' | 'keptBodies'>): number {
    const inOrder = this.#accountedTo <= to;
    const missing = this.#accounted + count(this.#gaps.map((gap) => ({ ...gap, to: Math.min(gap.to, to) })));
    const before = count(this.#gaps);
    this.#gaps = this.#gaps.flatMap((gap) => [
      ...part(gap, gap.from, Math.min(gap.to, from)),
      ...part(gap, Math.max(gap.from, to), gap.to),
    ]);
    this.#accounted += before - count(this.#gaps);
    this.#accountedTo = Math.max(this.#accountedTo, to);
    // A shorter one after a longer one says nothing about what the longer one took.
    return inOrder ? Math.max(0, missing - (to - keptBodies)) : 0;
  }

  /** How many nothing has accounted for, and the first of them. */
  get unaccounted(): { readonly entries: number; readonly first: Gap } | undefined {
    const [first] = this.#gaps;
    return first && { entries: count(this.#gaps), first };
  }
}

function part(gap: Gap, from: number, to: number): readonly Gap[] {
  if (from === gap.from && to === gap.to) return [gap];
  return from < to ? [{ from, to, line: gap.line + from - gap.from }] : [];
}

function count(gaps: readonly Gap[]): number {
  return gaps.reduce((sum, { from, to }) => sum + Math.max(0, to - from), 0);
}
