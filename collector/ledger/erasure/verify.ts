import type { KeyObject } from 'node:crypto';
import { AppError, toAppError } from '../../../common/errors.ts';
import { rootOf } from '../../../common/merkle.ts';
import { verifyConsistency } from '../../../common/proof.ts';
import { fullTileWidth } from '../../../common/tiles.ts';
import type { PublishedCheckpoint } from '../publisher.ts';
import type { StoredLedger } from '../verify/source.ts';
import { rangeFromTiles } from '../verify/tree.ts';
import { verifyLedger } from '../verify/verify.ts';

/** Whoever publishes the ledger and proves that one of its trees continues another. */
export interface ProvingLedger {
  readonly origin: string;
  checkpoint(): Promise<PublishedCheckpoint>;
  consistency(oldSize: number, newSize: number): Promise<readonly Buffer[]>;
}

export interface VerifyUpToNeeds {
  readonly stored: StoredLedger;
  readonly ledger: ProvingLedger;
  readonly collectorKey: KeyObject;
  readonly onProgress: (done: number, of: number) => void;
}

/**
 * Verifies all that is stored of the first `to` entries, signatures included, and that they are the beginning of the tree that
 * is being published.
 * @param to no further than the ledger's last full tile of 256 entries.
 * @returns their root, in hex.
 * @throws AppError `ledger.tampered`.
 */
export async function verifyUpTo(to: number, needs: VerifyUpToNeeds): Promise<string> {
  const { stored, ledger, collectorKey, onProgress } = needs;
  const root = await storedRoot(stored, to);
  await requirePublished(ledger, to, Buffer.from(root, 'hex'));
  const reached = new AbortController();
  const { fault } = await verifyLedger(stored, {
    origin: ledger.origin,
    collectorKey,
    checkpoints: [{ name: 'its tiles', size: to, root: Buffer.from(root, 'hex') }],
    stop: reached.signal,
    onProgress: (verified) => {
      onProgress(Math.min(verified, to), to);
      if (verified >= to) reached.abort();
    },
  });
  if (fault === undefined) return root;
  const where = fault.index === null ? 'the ledger' : `entry ${fault.index}`;
  throw new AppError(
    'ledger.tampered',
    `nothing was erased, because what was to go is not in order (${fault.fault}): ${where}: ${fault.message}`,
    { details: { index: fault.index } },
  );
}

/** Root of the first `to` entries as the tiles have it, in hex. @throws AppError `ledger.tampered` when one is missing. */
export async function storedRoot(stored: Pick<StoredLedger, 'tiles'>, to: number): Promise<string> {
  const range = await rangeFromTiles(stored.tiles, to, to + ((fullTileWidth - (to % fullTileWidth)) % fullTileWidth));
  if (range !== undefined) return rootOf(range).toString('hex');
  throw new AppError('ledger.tampered', `tiles of the first ${to} entries are missing; "ledger verify" tells which`);
}

async function requirePublished(ledger: ProvingLedger, to: number, root: Buffer): Promise<void> {
  const checkpoint = await ledger.checkpoint();
  const proof = await ledger.consistency(to, checkpoint.size);
  try {
    verifyConsistency({ oldSize: to, oldRoot: root, newSize: checkpoint.size, newRoot: checkpoint.root, proof });
  } catch (thrown) {
    throw new AppError(
      'ledger.tampered',
      `nothing was erased, because the first ${to} entries are not the beginning of what is being published: ${toAppError(thrown).message}`,
      { cause: thrown },
    );
  }
}
