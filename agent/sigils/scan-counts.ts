/** What was looked at; table blocks and bytes exclude meta blocks, `records` counts stored versions, not keys. */
export interface ScanCounts {
  readonly tables: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly records: number;
  readonly sigils: number;
}

export const noCounts: ScanCounts = { tables: 0, blocks: 0, bytes: 0, records: 0, sigils: 0 };

export function addedCounts(one: ScanCounts, other: ScanCounts): ScanCounts {
  return {
    tables: one.tables + other.tables,
    blocks: one.blocks + other.blocks,
    bytes: one.bytes + other.bytes,
    records: one.records + other.records,
    sigils: one.sigils + other.sigils,
  };
}

/** What was read since. */
export function countsSince(before: ScanCounts, now: ScanCounts): ScanCounts {
  return {
    tables: now.tables - before.tables,
    blocks: now.blocks - before.blocks,
    bytes: now.bytes - before.bytes,
    records: now.records - before.records,
    sigils: now.sigils - before.sigils,
  };
}
