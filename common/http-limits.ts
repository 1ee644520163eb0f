/** Bounds of what stands around every route of the API; part of `limits`. */
export const httpLimits = {
  /** Connections that the kernel has made and nobody has taken yet; it has a bound of its own (`net.core.somaxconn`, mostly 4,096). */
  listenBacklog: 4_096,
  maxTrustedProxies: 256,
  /** Addresses at the end of X-Forwarded-For that are looked at. */
  maxForwardedHops: 32,
  /** How often the files of the certificate are looked at. */
  tlsLookMs: 2_000,
  /** For how long browsers that came over TLS are told to come in no other way. */
  hstsSeconds: 365 * 86_400,
  maxCorsOrigins: 64,
  /** Where Prometheus finds agents: one address, and nodes that have one of their own. */
  maxTargetChars: 300,
  maxTargets: 10_000,
  /** How long a browser may remember what pages elsewhere may ask. */
  corsMaxAgeSeconds: 600,
  /** Nodes whose orders are read at once for one answer about governance, of all who ask together. */
  governanceReadsAtOnce: 2,
  rateWindowMs: 60_000,
  rateWindowSlices: 12,
  /** Actors, and as many addresses, that are counted each for itself, in each class of requests. */
  maxRateKeys: 20_000,
  /** All addresses beyond that may do together what so many could alone. */
  rateCrowdShare: 10,
  /** A console with many tabs, or a script that asks every few milliseconds, does not meet these. */
  readsPerMinute: 3_000,
  writesPerMinute: 600,
  /** From one address; a whole office behind one signs in within it. Attempts by name are counted elsewhere. */
  signInsPerMinute: 30,
  maxIdempotencyKeyChars: 255,
  /** How long an answer is given again under the same key. */
  idempotencyKeptMs: 24 * 3_600_000,
  /** A key whose request was begun and not heard of for so long belongs to a collector that is gone. */
  idempotencyLeaseMs: 30_000,
  /** How often a request that goes on says so. */
  idempotencyRenewMs: 10_000,
  /** A longer answer is not kept: a repetition is told that it was done, and not what came of it. */
  maxKeptAnswerBytes: 256 * 1024,
  idempotencySweepMs: 600_000,
  idempotencySweepRows: 5_000,

  /** Thousands of nodes, and as much again. */
  maxConnections: 10_000,
  /** A site of nodes may share one address. */
  maxConnectionsPerAddress: 1_000,
  /** Beyond the limit, for whoever looks after the collector. */
  reservedConnections: 32,
  httpRequestTimeoutMs: 30_000,
  httpHeadersTimeoutMs: 10_000,
  /** How often connections are held against those two; Node.js would look every 30 seconds, and a slow one lasts as much longer. */
  httpTimeoutCheckMs: 2_000,
  /** How long requests under way may take to finish when the collector stops. */
  httpDrainMs: 5_000,
} as const;
