import { fullTileWidth } from '../../../common/tiles.ts';

/** Bodies of neighbouring entries, stored so that they can be dropped at once. */
export interface BodyPartition {
  /** Indexes from `from` up to but not including `to`. */
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

/** Which entries may lose their bodies. All that is given must hold. */
export interface ErasureLimit {
  /** Only those that were received before, Unix milliseconds. */
  readonly beforeMs?: number | undefined;
  /** Only those with a lower index. */
  readonly toIndex?: number | undefined;
}

/** What is known of the ledger before anything is looked at closely. */
export interface ErasureGround {
  /** Tree size. */
  readonly size: number;
  /** Where the last erasure ended; 0 when there was none. */
  readonly boundary: number;
  /** In order. */
  readonly partitions: readonly BodyPartition[];
}

/** Whole partitions, from where the last erasure ended. */
export interface ErasureSpan {
  readonly from: number;
  readonly to: number;
  readonly partitions: number;
  readonly bytes: number;
}

/**
 * The largest span of whole partitions within the limit, or undefined when not even one is. The entries of the last tile that
 * is not full stay, since the tree of the rest is proved from full tiles.
 * @param receivedMs when the last entry of such a partition was received, Unix milliseconds.
 */
export async function chooseSpan(
  { size, boundary, partitions }: ErasureGround,
  { beforeMs = Number.POSITIVE_INFINITY, toIndex = Number.POSITIVE_INFINITY }: ErasureLimit,
  receivedMs: (partition: BodyPartition) => Promise<number>,
): Promise<ErasureSpan | undefined> {
  const end = Math.min(toIndex, size - (size % fullTileWidth));
  let span: ErasureSpan | undefined;
  for (const partition of partitions) {
    if (partition.to <= boundary) continue;
    const reached = span?.to ?? boundary;
    if (partition.from !== reached || partition.to > end || (await receivedMs(partition)) >= beforeMs) break;
    span = {
      from: boundary,
      to: partition.to,
      partitions: (span?.partitions ?? 0) + 1,
      bytes: (span?.bytes ?? 0) + partition.bytes,
    };
  }
  return span;
}
