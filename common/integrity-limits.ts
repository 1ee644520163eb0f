/** Bounds of integrity runs and their reports; part of `limits`. */
export const integrityLimits = {
  /** Sigil stores of one node: what is said of all of them has to fit into one entry. */
  maxStores: 100,
  /** Findings that one report lists, over all its stores; those beyond are counted. */
  maxReportFindings: 2_000,
  /** Bad places in files that a report says the records of, over all its stores, and how many it lists of each. */
  maxPlacesWithKeys: 100,
  maxKeysOfPlace: 20,
  /** What is read of a store's snapshots for it, or of the store itself, and the keys that are in memory at once: what a store's MANIFEST claims has no bound. */
  keysOfPlacesReadBytes: 128 * 1024 * 1024,
  keysOfPlacesHeld: 50_000,
  keysOfPlacesHeldBytes: 8 * 1024 * 1024,
  /** A larger inventory, of some thirty million sigils, is not read for it. */
  inventoryOfPlacesBytes: 4 * 1024 * 1024 * 1024,
  /** A file of `integrity accept`: a key, a reason and a name. */
  maxAcceptanceBytes: 64 * 1024,
  /** An archived report, some 9 KB for the longest of findings; a larger file is none of ours. */
  maxReportBytes: 32 * 1024 * 1024,
  /** Threads that may check one store. */
  maxScanThreads: 32,
  defaultIntegrityJitterMs: 3_600_000,
  /** How long reports are kept, and how many. */
  defaultReportDays: 90,
  maxReportDays: 3_660,
  defaultReportsKept: 100,
  maxReportsKept: 1_000,
  /** The newest ones stay however old they seem: a clock that was set ahead for a night must not empty the archive. */
  reportsKeptAnyway: 7,
  /** All of them together, the newest ones aside: whoever can write bad records into a store must not fill the node's disk. */
  maxReportArchiveBytes: 256 * 1024 * 1024,
  /** What a check of the ledger at night takes of the time: as long as it reads and compares, it rests. */
  ledgerCheckShare: 0.5,
  /** It works for so long before it rests. */
  ledgerCheckSliceMs: 20,
  /** Beyond what its threads and buffers take: it streams. */
  ledgerCheckHeapMb: 384,
  /** A check that says nothing for so long hangs; comparing large projections takes minutes. */
  ledgerCheckStallMs: 3_600_000,
  /** After a night's check of the ledger could not be begun or put on record. */
  ledgerCheckRetryMs: 600_000,
  /** Differing rows that are told of one projection. */
  maxDifferingRows: 20,
  /** Projections there are, with room to grow. */
  maxProjections: 64,
  maxProjectionColumns: 100,
  /** A lock says who holds it in a line; a larger file is no lock. */
  maxRunLockBytes: 4_096,
  /** How often a lock whose holder is gone may be taken away before others are taken to be at it. */
  runLockAttempts: 5,
  /** What one full scan keeps of records in memory before it is sorted and put into a file. */
  inventoryArenaBytes: 4 * 1024 * 1024,
  /** The same for each thread, before it hands it over. */
  inventoryThreadArenaBytes: 1024 * 1024,
  /** What of each sorted run, and of the inventory before, is in memory while they are merged. */
  inventoryReadBytes: 64 * 1024,
  /** Runs of a size after which they are merged into one. */
  inventoryFanIn: 64,
  /** Sigils with longer keys are not in the inventory; one in the field takes some hundred bytes. */
  maxInventoryKeyBytes: 1_024,
  /** Longer ids link no sigils, and longer `updatedAt` are no times. */
  maxInventoryIdBytes: 200,
  maxInventoryTimeBytes: 64,
  /** Where a full scan has come: some 300 bytes for each of the tables that are remembered. A larger file is none of ours. */
  maxScanPositionBytes: 32 * 1024 * 1024,
  /** Damaged places whose key ranges are remembered; with more of them, no key counts as vanished. */
  maxInventoryDoubts: 1_000,
  /** Snapshots of a store: how long they are kept, how many, and what they may hold of a disk that the store itself does not. */
  defaultSnapshotDays: 7,
  defaultSnapshotsKept: 7,
  maxSnapshotsKept: 400,
  defaultSnapshotBytes: 1024 * 1024 * 1024,
  /** A check that is made again every minute, since nothing could be told, is no reason for a snapshot every minute. */
  snapshotGapMs: 1_800_000,
  /** Copies of what was replaced in a store when a record was put back. */
  copiesAsideKept: 5,
  /** What a snapshot says of itself: some hundred bytes for a table that was copied. */
  maxSnapshotNoteBytes: 32 * 1024 * 1024,
} as const;
