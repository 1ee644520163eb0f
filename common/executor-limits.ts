/** Bounds of the executor: part of `limits`, where everybody reads them. */
export const executorLimits = {
  /** What the executor reads of a request before it has decided: its head, most of it an order full of escaped characters. */
  executorMaxHeadBytes: 152 * 1024,
  executorMaxOrderHeaderChars: 96 * 1024,
  /** The host side of a container that is to be made. */
  executorMaxWantedHeaderChars: 48 * 1024,
  executorMaxTargetChars: 4_096,
  executorMaxHeaders: 16,
  /** Pieces a head or body may come in; it is looked at again with each. */
  executorMaxPieces: 256,
  /** How a container is to be made, as JSON. */
  executorMaxBodyBytes: 512 * 1024,
  /** What clients send beside a call that takes no body. */
  executorMaxIgnoredBodyBytes: 4_096,
  executorMaxImageArchiveBytes: 32 * 1024 * 1024 * 1024,
  executorMaxConnections: 64,
  executorHeadTimeoutMs: 5_000,
  executorBodyTimeoutMs: 10_000,
  executorConnectTimeoutMs: 2_000,
  /** Silence of the engine in the middle of a call; longer where it works for long without a word. */
  executorIdleMs: 30_000,
  executorWorkIdleMs: 10 * 60_000,
  /** Grace that a container may be given to stop. */
  executorMaxStopSeconds: 300,
  /** A client that does not read what it asked for. */
  executorStallMs: 30_000,
  /** How long a client that was refused gets to read why. */
  executorLingerMs: 1_000,
  executorDrainMs: 5_000,
  /** How often one order is good for the same call on the same container: four attempts that are undone, by default. */
  executorUsesPerOrder: 8,
  /** Different calls, containers and networks that one order is good for. */
  executorKeysPerOrder: 64,
  /** Images that are kept by a tag, or let go of, which needs no order. */
  executorTagsPerMinute: 600,
  executorMaxOrders: 2_000,
  /** How long after its expiry what an order has begun may still be finished or undone. */
  executorFinishMs: 3_600_000,
  /** One container as the engine describes it. */
  executorMaxInspectBytes: 4 * 1024 * 1024,
  executorMaxRefusalLinesPerSecond: 20,
} as const;
