import { createHash } from 'node:crypto';
import { makeSigilRecord } from '../../fakes/sigil-writer.ts';
import { secret } from './stores.ts';

const keys = 2_000;
const putsPerBatch = 6;
const deletionsPerBatch = 2;

export type WrittenOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: Record<string, unknown> }
  | { readonly type: 'del'; readonly key: string };

interface Blank {
  readonly key: string;
  readonly value: Record<string, unknown>;
}

/**
 * What a writer does to a store, batch by batch, the same for the same seed. Each batch writes the head, which says which batch it is,
 * replaces and deletes others, and gives all it writes the number of the batch for `updatedAt`.
 */
export class WrittenHistory {
  readonly head: string;
  private readonly headBlank = blank(keys);
  private readonly blanks: readonly Blank[];
  private readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
    this.blanks = Array.from({ length: keys }, (_, index) => blank(index));
    this.head = this.headBlank.key;
  }

  /** @param batch from 1 */
  operations(batch: number): WrittenOperation[] {
    const touched = new Set<number>();
    const drawn = Array.from({ length: putsPerBatch + deletionsPerBatch }, (_, nth) => this.draw(batch, nth));
    const operations = drawn.flatMap((index, nth): WrittenOperation[] => {
      const one = this.blanks[index];
      if (one === undefined || touched.has(index)) return [];
      touched.add(index);
      if (nth >= putsPerBatch) return [{ type: 'del', key: one.key }];
      return [{ type: 'put', key: one.key, value: { ...one.value, updatedAt: batch } }];
    });
    return [{ type: 'put', key: this.head, value: { ...this.headBlank.value, updatedAt: batch } }, ...operations];
  }

  private draw(batch: number, nth: number): number {
    let mixed = Math.imul(this.seed ^ Math.imul(batch, 0x9e3779b1) ^ Math.imul(nth + 1, 0x85ebca6b), 0xc2b2ae35);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
    return ((mixed ^ (mixed >>> 13)) >>> 0) % keys;
  }
}

/** What stands in the store after so many batches: the number of the batch that wrote it, by key. */
export class WrittenState {
  readonly at = new Map<string, number>();
  batch = 0;
  /** Of those batches. */
  operations = 0;
  private readonly history: WrittenHistory;

  constructor(history: WrittenHistory) {
    this.history = history;
  }

  /** @throws when that is over */
  goTo(batch: number): ReadonlyMap<string, number> {
    if (batch < this.batch) throw new Error(`batch ${batch} is over: ${this.batch} were seen`);
    while (this.batch < batch) {
      this.batch++;
      for (const { type, key } of this.history.operations(this.batch)) {
        this.operations++;
        if (type === 'put') this.at.set(key, this.batch);
        else this.at.delete(key);
      }
    }
    return this.at;
  }
}

/** The same for the same records, in whatever order they come. */
export function digestOf(records: Iterable<readonly [key: string, batch: number]>): string {
  const lines = [...records].map(([key, batch]) => `${key} ${batch}\n`).sort();
  return createHash('sha256').update(lines.join('')).digest('hex');
}

function blank(index: number): Blank {
  const authHash = createHash('sha256').update(`key ${index}`).digest('hex');
  const data = { index, pad: authHash.repeat(2) };
  return makeSigilRecord({ tenant: 'lyra', symbol: `S${index % 7}`, authHash, secret, data });
}
