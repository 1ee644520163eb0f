import { hash } from 'node:crypto';
import { genesisHash } from '../../../common/entry.ts';
import { fullTileWidth } from '../../../common/tiles.ts';
import type { StoredEntry, StoredLedger } from './source.ts';

/** The columns of an entry that nothing else proves once its body is gone. */
export type EntryColumns = Pick<StoredEntry, 'index' | 'author' | 'seq' | 'kind' | 'atMs' | 'atMicros' | 'entryHash'>;

/**
 * A digest of the columns of consecutive entries, which the collector signs before their bodies are dropped: a chain of
 * SHA-256 hashes, one for every 256 entries (counted from the ledger's first), each over the one before and one line per
 * entry. So it can be carried on from any multiple of 256 with nothing but the hash so far.
 */
export class ColumnsDigest {
  #hash: string;
  #lines = '';

  /** @param hash hex; what {@link end} answered at a multiple of 256. */
  constructor(hash: string = genesisHash) {
    this.#hash = hash;
  }

  add({ index, author, seq, kind, atMs, atMicros, entryHash }: EntryColumns): void {
    this.#lines += `${index} ${author} ${seq} ${kind} ${atMs} ${atMicros} ${entryHash}\n`;
    if ((index + 1) % fullTileWidth === 0) this.#link();
  }

  /** Hex. */
  end(): string {
    if (this.#lines !== '') this.#link();
    return this.#hash;
  }

  #link(): void {
    this.#hash = hash('sha256', `${this.#hash}\n${this.#lines}`, 'hex');
    this.#lines = '';
  }
}

/** {@link ColumnsDigest} of the stored entries from `from` up to but not including `to`, in hex. */
export async function digestColumns(stored: Pick<StoredLedger, 'read'>, from: number, to: number): Promise<string> {
  const digest = new ColumnsDigest();
  for (let at = from; at < to; at += readAtOnce) {
    const reading = stored.read(at, Math.min(at + readAtOnce, to));
    try {
      for await (const entries of reading.entries) for (const entry of entries) digest.add(entry);
    } finally {
      await reading.close();
    }
  }
  return digest.end();
}

/** Few enough for one statement to be done in time. */
const readAtOnce = 8_192;
