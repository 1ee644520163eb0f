/** A file of a snapshot. */
export interface HeldFile {
  readonly inode: number;
  readonly bytes: number;
  /** All names that it has, wherever. */
  readonly links: number;
}

export interface HeldSnapshot {
  readonly id: string;
  readonly atMs: number;
  readonly files: readonly HeldFile[];
}

export interface SnapshotRetention {
  readonly keepDays: number;
  readonly keep: number;
  /** What snapshots may hold of the disk that nothing else does. */
  readonly maxBytes: number;
}

/**
 * The bytes that would be free without these snapshots: those of files that have no name outside of `all` of them, each counted once.
 * @param all every snapshot there is
 */
export function heldBytes(some: readonly HeldSnapshot[], all: readonly HeldSnapshot[]): number {
  const names = new Map<number, number>();
  for (const { inode } of all.flatMap(({ files }) => files)) names.set(inode, (names.get(inode) ?? 0) + 1);
  const ours = some.flatMap(({ files }) => files).filter(({ inode, links }) => links <= (names.get(inode) ?? 0));
  return [...new Map(ours.map(({ inode, bytes }) => [inode, bytes])).values()].reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * Snapshots that are to go: what is too many, too old, or too large with all that is newer, and whatever is older than that. The newest
 * stays however old it is, for there may never be another one of a clean store, unless it alone is too large.
 * @param snapshots newest first
 */
export function outdatedSnapshots(
  snapshots: readonly HeldSnapshot[],
  { keepDays, keep, maxBytes }: SnapshotRetention,
  nowMs: number,
): readonly string[] {
  const oldestMs = nowMs - keepDays * 86_400_000;
  const firstToGo = snapshots.findIndex(({ atMs }, newer) => {
    if (heldBytes(snapshots.slice(0, newer + 1), snapshots) > maxBytes) return true;
    return newer > 0 && (newer >= keep || atMs < oldestMs);
  });
  return firstToGo < 0 ? [] : snapshots.slice(firstToGo).map(({ id }) => id);
}
