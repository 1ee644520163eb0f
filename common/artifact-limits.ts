/** Bounds of hashing artifacts; part of `limits`. */
export const artifactLimits = {
  /** Files, folders and links of one tree, some 300 bytes of memory each. */
  maxArtifactFiles: 1_000_000,
  artifactReadBytes: 1024 * 1024,
  /** Members of a saved image, and what is kept of those that may be its manifest or configuration. */
  maxImageMembers: 100_000,
  maxImageJsonBytes: 4 * 1024 * 1024,
  imageJsonHeldBytes: 64 * 1024 * 1024,
  /** Until the engine begins to answer; it writes as it reads then. */
  engineAnswerTimeoutMs: 120_000,

  /** Of a lineage: canonical JSON, far below what an entry takes; levels of objects and lists in each other; values in all. */
  maxLineageBytes: 16 * 1024,
  maxLineageDepth: 8,
  maxLineageValues: 1_000,
  /** Artifacts that one is said to be made of. */
  maxArtifactParents: 100,
  /** Parts of a score in one entry. */
  maxScoreParts: 16,
  /** Containers that are looked at for the score of one artifact, and standing findings of one node. */
  maxScoredContainers: 1_000,
  maxScoredFindings: 1_000,
  /** Between two sweeps, and how long a score stands before its facts are looked at again, changed or not. */
  sweepIntervalMs: 60_000,
  rescoreMs: 24 * 3_600_000,
  /** Artifacts that are looked at together, and batches in one sweep: the rest has to wait for the next. */
  sweepBatchArtifacts: 100,
  maxSweepBatches: 20,
  /** Nodes and entries that a sweep looks at for what changed; where there are more, everything counts as changed. */
  maxSweepNodes: 10_000,
  maxSweepEntries: 200_000,
  /** Scores that are held against the thresholds at once. */
  sweepScores: 500,
  maxScoreThresholds: 20,
  /** Scores that a trend is made of, the newest ones, and those that are read for a list of trends. */
  maxTrendScores: 2_000,
  maxTrendScoresRead: 20_000,
  /** What a story is made of, each the newest: containers of a name, artifacts of an image, drifts, orders, scores, commits. */
  maxStoryContainers: 50,
  maxStoryArtifacts: 20,
  maxStoryDrifts: 200,
  maxStoryOrders: 200,
  maxStoryScores: 100,
  /** Of each artifact. */
  maxStoryEnforcements: 50,
  maxStoryCommits: 500,
  /** Containers of one artifact whose drifts and orders are part of its story. */
  maxStoryContainersTold: 10,
  /** Registrations of one artifact that are told. */
  maxRegistrationsRead: 100,
} as const;
