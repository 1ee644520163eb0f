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
} as const;
