/** Bounds of bundles that are carried by hand; part of `limits`. */
export const bundleLimits = {
  /** What says of a bundle what it is: some 180 bytes for each part. */
  maxBundleManifestBytes: 4 * 1024 * 1024,
  maxBundleParts: 10_000,
  /** Of one part with entries. An entry with its signature has to fit. */
  minBundlePartBytes: 64 * 1024,
  bundlePartBytes: 64 * 1024 * 1024,
  /** Of one part of an image archive. */
  minImagePartBytes: 1024 * 1024,
  /** FAT32 has no larger files. */
  maxBundlePartBytes: 4 * 1024 * 1024 * 1024 - 1,
  /** Bundles that one folder is searched for. */
  maxBundlesInFolder: 1_000,
  /** Image archives in one return bundle. */
  maxBundleImages: 64,
  /** Of one image archive. */
  maxBundleImageBytes: 64 * 1024 * 1024 * 1024,
  /** Image archives of bundles that a node keeps: those of one bundle at least. */
  carriedImagesKept: 64,
  /** For how long, once the engine lacks none that is wanted. */
  carriedImagesKeptMs: 7 * 24 * 3_600_000,
  /** How often it is looked whether some may go. */
  carriedImagesLookMs: 3_600_000,
  /** Checkpoints handed out in return bundles that a node may hold when the next one comes. */
  maxReturnedCheckpoints: 16,
  /** One message of a return bundle, as a line. */
  maxBundleLineBytes: 1024 * 1024,
  /** How long a command waits for what the agent beside it makes of a bundle. */
  bundleTakenWithinMs: 10 * 60_000,
} as const;
