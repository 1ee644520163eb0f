import { parseEntry, splitLeaf } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { leafHash, rootOf } from '../../common/merkle.ts';
import type { LedgerStore, TreeHead } from './store.ts';

/** Whose ledger it has to be. */
export interface Owner {
  readonly origin: string;
  /** Raw Ed25519 key, base64. */
  readonly collectorKey: string;
  /** Where that key is kept, for messages. */
  readonly keyPath: string;
}

/**
 * That the ledger in the store was begun by this collector's key, and that its times of receipt reach to its end: what
 * has lost them must never get new ones, which would be false. Nobody else may append meanwhile.
 * @throws AppError `state.conflict` for the ledger of another key or origin; `ledger.tampered` when rows are missing that
 *   every ledger has.
 */
export async function requireOwnLedger(store: LedgerStore, owner: Owner): Promise<void> {
  const head = await store.head();
  if (head === undefined) throw new AppError('ledger.tampered', 'the ledger has no tree head');
  if (head.origin !== owner.origin) throw otherOrigin(head.origin, owner);
  await requireBegun(store, owner);
  await requireReceived(store, head);
}

async function requireBegun(store: LedgerStore, owner: Owner): Promise<void> {
  const [leaf] = await store.leaves(0, 1);
  // Retention drops everything but this: without it, any key would do.
  if (leaf === undefined) throw broken('the body of its first entry, which says whose ledger this is, is missing');
  const { bytes, signature } = splitLeaf(leaf);
  if (!leafHash(bytes, signature).equals(await store.leafHashes(0, 1))) {
    throw broken('the body of its first entry, which says whose ledger this is, was changed');
  }
  const { kind, body } = parseEntry(bytes);
  if (kind !== 'ledger.created') throw broken('its first entry is not the one that every ledger begins with');
  if (body.origin !== owner.origin) throw otherOrigin(body.origin, owner);
  if (body.collectorKey !== owner.collectorKey) throw otherKey(owner);
}

/** A commit writes the tree head and its batch together, so the newest batch is always that of the head. */
async function requireReceived(store: LedgerStore, { range }: TreeHead): Promise<void> {
  const batch = await store.lastBatch();
  const reached = batch?.size ?? 0;
  if (reached < range.size) {
    throw broken(`no batch says when entry ${reached} and those behind it were received: batches were removed`);
  }
  if (reached > range.size) throw broken(`a batch of ${reached} entries is stored, but there are only ${range.size}`);
  if (!batch?.root.equals(rootOf(range))) throw broken(`the batch of ${reached} entries is not of this tree`);
}

function broken(why: string): AppError {
  return new AppError(
    'ledger.tampered',
    `the ledger in the database is not as it was written: ${why}. Nothing was signed or recorded. ` +
      '"sigilwatch-collector ledger verify" looks at all of it; put the rows back from a backup, or whoever owns the tables removes ' +
      'those that are too many (docs/recovery.md)',
    { details: { why } },
  );
}

function otherOrigin(found: string, { origin }: Owner): AppError {
  return new AppError(
    'state.conflict',
    `this database holds the ledger ${found}, but the settings say that this is ${origin}. ` +
      'Were the settings given, with --config FILE or SIGILWATCH_CONFIG? If they were, give ledger.origin or the database back that they had before',
    { details: { differs: 'origin', found, origin } },
  );
}

function otherKey({ origin, keyPath }: Owner): AppError {
  return new AppError(
    'state.conflict',
    `this database holds the ledger ${origin} of another collector key than the one in ${keyPath}. ` +
      `Put the key it was begun with there: from the backup, or, for a second collector, a copy of the first one's collector.key`,
    { details: { differs: 'key', origin, path: keyPath } },
  );
}
