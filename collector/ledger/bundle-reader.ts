import pLimit from 'p-limit';
import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { encodeBundle, fullTileWidth } from '../../common/tiles.ts';
import type { LedgerStore } from './store.ts';

/** The first entries of a bundle: every narrower bundle is a beginning of its bytes. */
interface KnownBundle {
  readonly bytes: Buffer;
  /** `ends[i]` is where entry `i` ends in `bytes`. */
  readonly ends: readonly number[];
  /** Read from the store; monotonic milliseconds. */
  readonly readMs: number;
}

/**
 * Entry bundles (C2SP tlog-tiles), with those of the last seconds in memory: whoever follows the log asks for the same few.
 * Not for longer, because bodies may be erased by another process, and from then on nobody is to get them from here.
 */
export class BundleReader {
  readonly #store: Pick<LedgerStore, 'leaves'>;
  readonly #clock: Clock;
  /** By index, the one that was read longest ago first. */
  readonly #known = new Map<number, KnownBundle>();
  #knownBytes = 0;
  /** Readings under way by index; a crowd that asks for the same bundle waits for the same one. */
  readonly #reading = new Map<number, Promise<unknown>>();
  readonly #inTurn = pLimit(limits.bundlesReadAtOnce);

  constructor(store: Pick<LedgerStore, 'leaves'>, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /**
   * The bundle with the first `width` entries of `index`, all of which have been appended.
   * @throws AppError `resource.gone` when bodies of them are not kept any more.
   */
  async read(index: number, width: number): Promise<Buffer> {
    for (;;) {
      const known = this.#recall(index);
      if (known !== undefined && known.ends.length >= width) return beginning(known, width);
      const reading = this.#reading.get(index);
      if (reading === undefined) return this.#readFromStore(index, width);
      await reading.catch(() => {});
    }
  }

  async #readFromStore(index: number, width: number): Promise<Buffer> {
    const reading = this.#inTurn(async () => {
      const readMs = this.#clock.monotonicMs();
      const start = index * fullTileWidth;
      const leaves = await this.#store.leaves(start, start + width);
      if (leaves.length !== width) throw gone(start, width);
      let end = 0;
      const ends = leaves.map((leaf) => {
        end += 2 + leaf.length;
        return end;
      });
      const bytes = encodeBundle(leaves);
      this.#remember(index, { bytes, ends, readMs });
      return bytes;
    });
    this.#reading.set(index, reading);
    try {
      return await reading;
    } finally {
      this.#reading.delete(index);
    }
  }

  #recall(index: number): KnownBundle | undefined {
    const known = this.#known.get(index);
    if (known === undefined || this.#clock.monotonicMs() - known.readMs <= limits.bundleKeptMs) return known;
    this.#forget(index);
    return undefined;
  }

  #remember(index: number, bundle: KnownBundle): void {
    this.#forget(index);
    this.#known.set(index, bundle);
    this.#knownBytes += bundle.bytes.length;
    for (const oldest of this.#known.keys()) {
      if (this.#knownBytes <= limits.bundleCacheBytes || oldest === index) return;
      this.#forget(oldest);
    }
  }

  #forget(index: number): void {
    this.#knownBytes -= this.#known.get(index)?.bytes.length ?? 0;
    this.#known.delete(index);
  }
}

/** The bundle itself where all of it is asked for, so that what was made of it before is found again. */
function beginning({ bytes, ends }: KnownBundle, width: number): Buffer {
  return width === ends.length ? bytes : bytes.subarray(0, ends[width - 1]);
}

function gone(start: number, width: number): AppError {
  return new AppError(
    'resource.gone',
    `of the entries ${start} to ${start + width - 1}, bodies are not kept here any more; their hashes are, and the ledger's entries of kind ledger.erased say what was erased and why`,
    { details: { from: start, to: start + width } },
  );
}
