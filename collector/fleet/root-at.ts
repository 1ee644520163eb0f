import { AppError } from '../../common/errors.ts';
import { coveringNodes, rootOf } from '../../common/merkle.ts';
import type { LedgerStore } from '../ledger/store.ts';
import { loadTail } from '../ledger/tail.ts';
import { TileReader } from '../ledger/tile-reader.ts';

/**
 * Root hash of the first `size` entries (RFC 6962), from the stored tiles: what a checkpoint of that size has signed.
 * @throws AppError `ledger.tampered` when the tiles do not lead to the tree head; `ledger.proof` beyond it.
 */
export async function rootAt(store: Pick<LedgerStore, 'head' | 'leafHashes' | 'tiles'>, size: number): Promise<Buffer> {
  const head = await store.head();
  if (head === undefined || size > head.range.size) {
    throw new AppError('ledger.proof', `the ledger does not have ${size} entries`);
  }
  const tiles = new TileReader(store).at(await loadTail(store, head));
  return rootOf({ size, hashes: await tiles.read(coveringNodes(0, size)) });
}
