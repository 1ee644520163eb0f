/** Bounds of sigil stores that are tables of a PostgreSQL database; part of `limits`. */
export const tableLimits = {
  /** Rows that one statement gives, and bytes of their records, the last one aside. */
  tablePageRows: 500,
  tablePageBytes: 1024 * 1024,
  /** A longer record is a finding, and not fetched. */
  maxTableRecordBytes: 4 * 1024 * 1024,
  /** The same for any other column. */
  maxTableColumnBytes: 4_096,
  /** Rows with findings that one statement looks up again. */
  tableLookUpRows: 50,
  /** A transaction shows its rows when it commits, which may be so much later than `updatedAt` says. */
  tableOverlapMs: 300_000,
  tableStatementTimeoutMs: 30_000,
  /** What waits for a lock keeps others waiting behind it. */
  tableLockTimeoutMs: 5_000,
  /** A server that does not even say that time is up is gone. */
  tableAnswerGraceMs: 10_000,
  /** `amcheck` on one index, or on so many blocks of one table. */
  amcheckTimeoutMs: 600_000,
  amcheckBlocks: 8_192,
  /** In tables up to this size, each row is looked for in each index. */
  amcheckRowsInIndexMaxBytes: 1024 * 1024 * 1024,
  /** Complaints that are taken of one statement of `amcheck`. */
  amcheckComplaints: 200,
  /** How often a long statement is said to be under way. */
  tableHeartbeatMs: 5_000,
} as const;
