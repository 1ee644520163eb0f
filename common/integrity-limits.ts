/** Bounds of integrity runs and their reports; part of `limits`. */
export const integrityLimits = {
  /** Sigil stores of one node: what is said of all of them has to fit into one entry. */
  maxStores: 100,
  /** Findings that one report lists, over all its stores; those beyond are counted. */
  maxReportFindings: 2_000,
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
  /** A lock says who holds it in a line; a larger file is no lock. */
  maxRunLockBytes: 4_096,
  /** How often a lock whose holder is gone may be taken away before others are taken to be at it. */
  runLockAttempts: 5,
} as const;
