/** Bounds of what `doctor` looks at; part of `limits`. */
export const doctorLimits = {
  /** A certificate that ends sooner is to be renewed. */
  certificateSoonMs: 14 * 86_400_000,
  /** How long a doctor waits for one answer, and how much of it is read: the description of the API is the largest. */
  doctorTimeoutMs: 10_000,
  maxDoctorAnswerBytes: 16 * 1024 * 1024,
  maxSignersFileBytes: 1024 * 1024,
  /** What an executor says of itself. */
  maxExecutorCountsChars: 64 * 1024,
  /** Share of the outbox from which it counts as filling. */
  outboxFillingRatio: 0.25,
  /** Free space below which a collector's disk is about to be full. */
  collectorFreeBytes: 1024 * 1024 * 1024,
} as const;
