import type { Erasure } from '../erasure/record.ts';
import { ColumnsDigest } from './erased-columns.ts';
import { Found } from './fault.ts';
import type { StoredEntry } from './source.ts';

/** How far the digest of an erasure has come, by the index of its entry. */
export type DigestsSoFar = readonly { readonly index: number; readonly digest: string }[];

interface Span {
  readonly said: Erasure;
  readonly digest: ColumnsDigest;
}

/** What the collector says it has erased, beside the entries as they pass by. */
export class Erasures {
  readonly #digests: readonly Span[];
  /** The spans that the entry of a moment may lie in; others are not looked at. */
  #open: readonly Span[] = [];
  /** Where that changes next. */
  #nextChange = 0;
  readonly #broken: readonly number[];

  /** @param broken where statements lie that say nothing, not being as they were signed. @param soFar of an earlier run that is gone on with. */
  constructor(said: readonly Erasure[], broken: readonly number[] = [], soFar: DigestsSoFar = []) {
    this.#broken = broken;
    const begun = new Map(soFar.map(({ index, digest }) => [index, digest]));
    this.#digests = said.map((erasure) => ({ said: erasure, digest: new ColumnsDigest(begun.get(erasure.index)) }));
  }

  /** Whether the body of this entry may be gone. To be asked of every entry, in order. */
  covers(index: number): boolean {
    if (index >= this.#nextChange) this.#turnTo(index);
    return this.#open.length > 0;
  }

  /** Where the span begins that this entry lies in: of an erased entry, only those of its whole span are vouched for. */
  spanAt(index: number): number {
    return Math.min(index, ...this.#open.map(({ said }) => said.from));
  }

  /** What it means that a body is gone which no statement covers. Where one was changed that may have, that is what is wrong. */
  uncovered(index: number): Found {
    const broken = this.#broken.find((at) => at > index);
    if (broken === undefined) return new Found('body', index, 'the body of the entry is missing');
    const message = `the entry, which tells of an erasure, is not as the collector signed it: nothing vouches for the missing body of entry ${index}`;
    return new Found('body', broken, message);
  }

  /** @throws Found when this is the last entry of an erased span and the columns in it are not those it had. */
  pass(entry: StoredEntry): void {
    if (!this.covers(entry.index)) return;
    for (const { said, digest } of this.#open) {
      digest.add(entry);
      if (entry.index + 1 < said.to || digest.end() === said.columns) continue;
      const message = `columns of the entries ${said.from} to ${said.to - 1} are not those that were erased (by entry ${said.index})`;
      throw new Found('columns', said.from, message);
    }
  }

  /** What is begun and not at its end before `index`, a multiple of 256. */
  soFar(index: number): DigestsSoFar {
    const begun = this.#digests.filter(({ said }) => said.from < index && index < said.to);
    return begun.map(({ said, digest }) => ({ index: said.index, digest: digest.end() }));
  }

  #turnTo(index: number): void {
    this.#open = this.#digests.filter(({ said }) => said.from <= index && index < said.to);
    const ends = this.#digests.flatMap(({ said }) => [said.from, said.to]).filter((end) => end > index);
    this.#nextChange = Math.min(...ends);
  }
}
