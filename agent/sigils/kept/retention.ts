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
  const held = new HeldBytes(all);
  for (const { files } of some) held.add(files);
  return held.bytes;
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
  const held = new HeldBytes(snapshots);
  const firstToGo = snapshots.findIndex(({ atMs, files }, newer) => {
    held.add(files);
    return held.bytes > maxBytes || (newer > 0 && (newer >= keep || atMs < oldestMs));
  });
  return firstToGo < 0 ? [] : snapshots.slice(firstToGo).map(({ id }) => id);
}

class HeldBytes {
  bytes = 0;
  /** How many names the snapshots have for a file. */
  private readonly names = new Map<number, number>();
  private readonly counted = new Set<number>();

  constructor(all: readonly HeldSnapshot[]) {
    for (const { files } of all) {
      for (const { inode } of files) this.names.set(inode, (this.names.get(inode) ?? 0) + 1);
    }
  }

  add(files: readonly HeldFile[]): void {
    for (const { inode, bytes, links } of files) {
      if (links > (this.names.get(inode) ?? 0) || this.counted.has(inode)) continue;
      this.counted.add(inode);
      this.bytes += bytes;
    }
  }
}
