import type { KeyObject } from 'node:crypto';
import pLimit from 'p-limit';
import type { Clock } from '../../common/clock.ts';
import { hashBytes } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { leafHash } from '../../common/merkle.ts';
import { encodeBundle, fullTileWidth } from '../../common/tiles.ts';
import { MissingStored, tampered } from './erasure/missing.ts';
import type { LedgerStore } from './store.ts';

/** The first entries of a bundle: every narrower bundle is a beginning of its bytes. */
interface KnownBundle {
  readonly bytes: Buffer;
  /** `ends[i]` is where entry `i` ends in `bytes`. */
  readonly ends: readonly number[];
  /** Read from the store; monotonic milliseconds. */
  readonly readMs: number;
}

export interface BundleNeeds {
  readonly store: Pick<LedgerStore, 'leaves' | 'erasures'>;
  readonly clock: Clock;
  /** Whose word it is that something was erased. */
  readonly collectorKey: KeyObject;
  /** Leaf hashes of the first `width` entries of a bundle, as the tree has them. */
  readonly hashes: (index: number, width: number) => Promise<Buffer>;
}

/**
 * Entry bundles (C2SP tlog-tiles), with those of the last seconds in memory: whoever follows the log asks for the same few.
 * Not for longer, because bodies may be erased by another process, and from then on nobody is to get them from here.
 * Caches keep for ever what is answered, so each entry is held against its leaf hash first.
 */
export class BundleReader {
  readonly #store: BundleNeeds['store'];
  readonly #clock: Clock;
  readonly #hashes: BundleNeeds['hashes'];
  readonly #missing: MissingStored;
  /** By index, the one that was read longest ago first. */
  readonly #known = new Map<number, KnownBundle>();
  #knownBytes = 0;
  /** Readings under way by index; a crowd that asks for the same bundle waits for the same one. */
  readonly #reading = new Map<number, Promise<unknown>>();
  readonly #inTurn = pLimit(limits.bundlesReadAtOnce);

  constructor({ store, clock, collectorKey, hashes }: BundleNeeds) {
    this.#store = store;
    this.#clock = clock;
    this.#hashes = hashes;
    this.#missing = new MissingStored(() => store.erasures(), collectorKey);
  }

  /**
   * The bundle with the first `width` entries of `index`, all of which have been appended.
   * @throws AppError `resource.gone` when bodies of them were erased; `ledger.tampered` when any is gone without that, or is not
   *   the one that was logged.
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
      const missing = missingOf(leaves, await this.#hashes(index, width), start);
      if (missing.length > 0) {
        await this.#missing.requireErased(missing);
        throw gone(start, width);
      }
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

/** The entries from `start` on whose leaves are not there. @throws AppError `ledger.tampered` for a leaf that is another one. */
function missingOf(leaves: readonly Buffer[], hashes: Buffer, start: number): readonly { readonly index: number }[] {
  const stored = leaves.map((leaf) => leafHash(leaf));
  const logged = Array.from({ length: hashes.length / hashBytes }, (_, at) =>
    hashes.subarray(at * hashBytes, (at + 1) * hashBytes),
  );
  if (stored.length === logged.length) {
    const other = logged.findIndex((hash, at) => stored[at]?.equals(hash) !== true);
    if (other < 0) return [];
    throw tampered(start + other, 'body and signature are not those whose hash was logged');
  }
  const missing: { index: number }[] = [];
  let found = 0;
  for (const [at, hash] of logged.entries()) {
    if (stored[found]?.equals(hash) === true) found += 1;
    else missing.push({ index: start + at });
  }
  if (found === stored.length) return missing;
  throw tampered(
    start,
    'of it or its neighbours up to the next 256, a body or signature is not the one whose hash was logged',
  );
}

/** The bundle itself where all of it is asked for, so that what was made of it before is found again. */
function beginning({ bytes, ends }: KnownBundle, width: number): Buffer {
  return width === ends.length ? bytes : bytes.subarray(0, ends[width - 1]);
}

function gone(start: number, width: number): AppError {
  return new AppError(
    'resource.gone',
    `of the entries ${start} to ${start + width - 1}, bodies were erased; their hashes are here, and the ledger's entries of kind ledger.erased say what was erased and why`,
    { details: { from: start, to: start + width } },
  );
}
