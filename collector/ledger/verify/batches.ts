import type { KeyObject } from 'node:crypto';
import { batchBytes } from '../../../common/batch.ts';
import { Found } from './fault.ts';
import type { Signatures } from './signatures.ts';
import type { StoredBatch } from './source.ts';

export interface BatchRules {
  readonly origin: string;
  readonly collectorKey: KeyObject;
  /** Undefined when no signatures are checked. */
  readonly signatures: Signatures | undefined;
}

/** Checks batches in their order. Each names the one before, so none can be taken away but the last, which is the tree head's. */
export class BatchCheck {
  readonly #rules: BatchRules;
  #size: number;
  /** First entry of the last one. */
  #from: number;
  #count: number;

  /** @param size of the last batch that was checked before, if any. @param count of those. */
  constructor(rules: BatchRules, size: number, count: number) {
    this.#rules = rules;
    this.#size = size;
    this.#from = size;
    this.#count = count;
  }

  /** Size of the last one, 0 without any. */
  get size(): number {
    return this.#size;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * @param root of the first `stored.size` entries.
   * @throws Found
   */
  check(stored: StoredBatch, root: Buffer): void {
    const { origin, collectorKey, signatures } = this.#rules;
    const from = this.#size;
    const { size, signature } = stored;
    if (size === from) throw new Found('batch', this.#from, `the batch of size ${size} is there twice`);
    const which = `the batch of size ${size}, which begins at this entry,`;
    if (!stored.root.equals(root))
      throw new Found('batch', from, `${which} has a root that the entries do not lead to`);
    const receivedAtMs = Number(stored.receivedMs);
    if (String(receivedAtMs) !== stored.receivedMs) throw new Found('batch', from, `${which} was received at no time`);
    const batch = { origin, from, size, root, receivedAtMs };
    signatures?.add({ key: collectorKey, message: batchBytes(batch), signature }, () => {
      const message = `${which} is not signed by the collector as it is, after one of size ${from}: it was changed, or one before it is gone`;
      return new Found('batch', from, message);
    });
    this.#from = from;
    this.#size = size;
    this.#count += 1;
  }

  /** @throws Found unless the last batch is the one that led to the tree head. */
  checkEnd(size: number): void {
    if (this.#size === size) return;
    throw new Found('batch', this.#size, 'no batch says when this entry and those behind it were received');
  }
}
