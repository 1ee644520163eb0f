import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { AppError } from '../../../common/errors.ts';
import { count, hex64, nodeName, ownText } from '../../../common/fields.ts';
import { decodeRange, encodeRange, rootOf } from '../../../common/merkle.ts';
import { fullTileWidth } from '../../../common/tiles.ts';
import { Authors, base64Key } from './authors.ts';
import type { DigestsSoFar } from './erasures.ts';
import { Found } from './fault.ts';
import type { StoredLedger } from './source.ts';
import { GrowingTree, partialTilesFrom, rangeFromTiles } from './tree.ts';

/** What is known after the first part of a ledger was verified, as it is kept for the next run. */
export const verifiedPartSchema = z.strictObject({
  v: z.literal(1),
  origin: ownText,
  collectorKey: z.base64(),
  /** Whether signatures were checked. */
  signatures: z.boolean(),
  /** Entries that are in order, a multiple of 256. */
  size: count.multipleOf(fullTileWidth),
  /** Compact range of their tree, in base64. */
  range: z.base64(),
  authors: z.array(z.strictObject({ author: nodeName, seq: count, hash: hex64, index: z.int().min(-1) })),
  nodes: z.array(
    z.strictObject({
      node: nodeName,
      publicKey: z.base64(),
      fingerprint: ownText,
      enrolledMs: z.int(),
      enrolledIndex: count,
      firstIndex: count,
      revoked: z.strictObject({ ms: z.int(), index: count }).nullable(),
    }),
  ),
  /** Size of the last batch, and how many there were. */
  batchedTo: count,
  batches: count,
  tiles: count,
  erased: count,
  /** Digests of erased spans that end later, by the index of the entry that tells of them. */
  erasures: z.array(z.strictObject({ index: count, digest: hex64 })),
});

export type VerifiedPart = z.infer<typeof verifiedPartSchema>;

interface Verified
  extends Omit<VerifiedPart, 'v' | 'collectorKey' | 'size' | 'range' | 'authors' | 'nodes' | 'erasures'> {
  readonly collectorKey: KeyObject;
  readonly tree: GrowingTree;
  readonly authors: Authors;
  readonly erasures: DigestsSoFar;
}

export function verifiedPart({ collectorKey, tree, authors, erasures, ...rest }: Verified): VerifiedPart {
  const { range } = tree;
  return {
    v: 1,
    ...rest,
    collectorKey: base64Key(collectorKey),
    size: range.size,
    range: encodeRange(range).toString('base64'),
    authors: [...authors.all].map(([author, { seq, hash, index }]) => ({ author, seq, hash, index })),
    nodes: [...authors.nodes].map(([node, enrolment]) => ({ node, ...enrolment })),
    erasures: [...erasures],
  };
}

interface Continued {
  readonly origin: string;
  readonly collectorKey: KeyObject;
  readonly signatures: boolean;
  readonly stored: StoredLedger;
  /** Entries the ledger has now. */
  readonly size: number;
}

/**
 * The state that `part` was kept in. That the ledger is still the one it was is made sure by its tiles.
 * @throws AppError `state.conflict` when `part` is not about this ledger, or not about this kind of verification.
 */
export async function continueFrom(
  part: VerifiedPart,
  { origin, collectorKey, signatures, stored, size }: Continued,
): Promise<{ tree: GrowingTree; authors: Authors }> {
  if (part.origin !== origin || part.collectorKey !== base64Key(collectorKey)) {
    throw unfit(`it is about the ledger ${part.origin} of another collector key or name`);
  }
  if (part.signatures !== signatures) {
    throw unfit(part.signatures ? 'it had signatures checked' : 'it was without signatures');
  }
  if (part.size > size) throw unfit(`it had verified ${part.size} entries, the ledger has ${size}`);
  const range = decodeRange(part.size, Buffer.from(part.range, 'base64'));
  const now = await rangeFromTiles(stored.tiles, part.size, part.size);
  const partial = await partialTilesFrom(stored.tiles, part.size);
  if (now === undefined || partial === undefined || !encodeRange(now).equals(encodeRange(range))) {
    throw unfit(`the tiles of the first ${part.size} entries are not those it had verified`);
  }
  return { tree: new GrowingTree(range, partial), authors: authorsOf(part, collectorKey) };
}

function authorsOf({ authors, nodes }: VerifiedPart, collectorKey: KeyObject): Authors {
  const known = new Authors(collectorKey);
  for (const { author, ...head } of authors) Object.assign(known.get(author), head);
  for (const { node, ...enrolment } of nodes) known.restoreNode(node, enrolment);
  return known;
}

function unfit(why: string): AppError {
  return new AppError(
    'state.conflict',
    `the interrupted verification cannot be continued: ${why}; start from the beginning, without --resume`,
  );
}

/**
 * Root of the first `size` entries, of `verified` (a multiple of 256) that are in order.
 * @throws Found when a tile that it follows from is gone.
 */
export async function rootBefore({ tiles }: StoredLedger, size: number, verified: number): Promise<Buffer> {
  const range = await rangeFromTiles(tiles, size, verified);
  if (range !== undefined) return rootOf(range);
  throw new Found('tile', null, `a tile of the first ${size} entries is missing`);
}
