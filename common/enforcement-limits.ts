/** Those of `limits` that orders are bounded by. */
export const enforcementLimits = {
  /** Signatures that an order can need, and who may give them. */
  maxApprovals: 10,
  maxApprovers: 100,
  /** An SSH signature in its armour; that of an RSA key of 16,384 bits is the longest. */
  maxApprovalChars: 8_000,
  /** Orders on one node in 24 hours. */
  defaultDailyOrders: 100,
  maxDailyOrders: 100_000,
  dailyWindowMs: 24 * 3_600_000,
  defaultCooldownMs: 300_000,
  /** Share of a node's containers that orders may take down, and in what time. */
  defaultBlastPercent: 50,
  blastWindowMs: 10 * 60_000,
  /** Between issue and expiry of an order that waits for nobody; longer where it waits for approvals. */
  orderLifetimeMs: 120_000,
  /**
   * Where witnesses have to see it first. They may be away for a while, and each order that expires counts for the day's limit; but what
   * was true longer ago has to be looked into anew.
   */
  witnessedOrderLifetimeMs: 60 * 60_000,
  minOrderLifetimeMs: 60_000,
  maxOrderLifetimeMs: 7 * 86_400_000,
  defaultApprovalMs: 24 * 3_600_000,
  /** How far an order may be issued ahead of a node's clock. */
  maxOrderAheadMs: 60_000,
  /** Orders that a node has not looked into yet, and those that it turns down with an answer in a minute; more are not answered. */
  maxOrdersWaiting: 256,
  maxRefusalsPerMinute: 120,
  /** Orders that came with too few witnesses and of which that was said; they may come again with enough. */
  unwitnessedRemembered: 1_000,
  /** Orders that a node has run are remembered for longer than any of them can be valid. */
  ordersRememberedMs: 30 * 86_400_000,
  /** Nodes that drift the same way right after a commit before it is suspected. */
  defaultFreezeNodes: 2,
  maxFreezeNodes: 10_000,
  defaultSettlingMs: 15_000,
  defaultOfflineAfterMs: 600_000,
  /** Longer than a link takes to come back by itself when its collector starts anew. */
  minOfflineAfterMs: 10_000,
  /** Measures that a node is told when its session begins, that wait to be told, and that a node remembers. */
  maxMeasuresTold: 500,
  maxMeasuresWaiting: 1_000,
  maxMeasuresRemembered: 1_000,
  /** Freezes among those that a node is told: by commits that it does not follow. */
  maxFreezesTold: 100,
  /** Measures that a node takes up in a minute; what comes after that is lost on it. */
  maxMeasuresPerMinute: 2_000,
  /** How often a collector looks for measures that nobody has announced to it, and how many it reads at once. */
  measureLookMs: 5_000,
  maxMeasuresRead: 500,
  /** Whoever adopts a commit within this time of the collector is part of its rollout, and all wait for all to settle. */
  rolloutSpreadMs: 60_000,
  /** Commits that were in force before, of which it is known what they answered. */
  earlierManifestsKept: 16,
  /** Nodes named as those that drift alike; the threshold counts all of them. */
  maxFrozenNodesNamed: 500,
  /** How long a collector leaves it to another one, which has the first of these nodes, to freeze. */
  freezeElsewhereMs: 2_000,
  /** Added to a grace period, so that the node, which counts from a moment before its entry, agrees that it is over. */
  graceSlackMs: 20,
  /** Drifts that are over, of which a node remembers since when they stood, and a collector when it saw them. */
  maxEndedDrifts: 1_000,
  /** Drifts that are over, as a collector reads them of a node at once: the newest. */
  maxEndedDriftsRead: 10_000,
  /** Containers, names and images of drifts that are over, by which another one's clock goes on. */
  maxGraceKeys: 10_000,
  /** What one look finds is said at once, and its entries are at most so far apart. */
  saidTogetherMs: 1_000,
  /** Between orders for a drift whose node refuses them or lets them expire: doubles with each, up to the second bound. */
  refusedRetryMinMs: 5_000,
  refusedRetryMaxMs: 3_600_000,
  /** How often the collector looks at drifts that no event led it to, at how many nodes then, and at how many at once. */
  enforcementLookMs: 5_000,
  enforcementLookNodes: 50,
  enforcementRoundsAtOnce: 2,
  /** An order that a connected node has not answered is sent again after this. */
  orderResendMs: 30_000,
  /** Announced changes whose signatures were checked. */
  announcementsRemembered: 1_000,
  /** How long a drift that an order was executed for may still stand, and come back, before it counts as relapsed. */
  verifyWithinMs: 120_000,
  relapseWithinMs: 600_000,
  /** How long a container that replaces another one gets to become healthy, and to stay up where it has no health check. */
  healthyWithinMs: 120_000,
  staysUpMs: 5_000,
  /** What a container gets to stop by itself when it is replaced. */
  stopGraceMs: 10_000,
  /** Last lines of the log of a container that is to be destroyed, which are kept. */
  evidenceLogLines: 200,
  /** Orders that are asked for in one page, and looked at in one round of dispatching. */
  maxOrdersDispatched: 200,
} as const;
