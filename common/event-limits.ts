/** Those of `limits` that live events are bounded by. */
export const eventLimits = {
  /** Streams one collector has open, and those of one caller. */
  maxEventStreams: 256,
  maxEventStreamsPerCaller: 32,
  /** What waits for one subscriber that reads more slowly than entries come; beyond it, it is told to come back. */
  eventBufferEvents: 2_000,
  eventBufferBytes: 2 * 1024 * 1024,
  /** What is handed to the network at once, before it has to have left. */
  eventWriteBytes: 64 * 1024,
  /** One look into the ledger: so many entries, with so many bytes of bodies. */
  eventPageEntries: 500,
  eventPageBytes: 256 * 1024,
  /** Where only some kinds are wanted, others are passed over in steps of so many entries. */
  eventWindowEntries: 5_000,
  /** Looks into the past for subscribers that catch up; the rest of the pool is for appends. */
  eventReadsAtOnce: 2,
  /** `recent` in a request, and how far back events that match are looked for. */
  maxRecentEvents: 1_000,
  recentEventsScanEntries: 20_000,
  /** Between two signs of life, and between two looks whether the caller may still listen. */
  eventHeartbeatMs: 15_000,
  /** A subscriber that has not taken anything for so long, while something waits for it, is cut off. */
  eventStallMs: 20_000,
  /** How often the ledger is looked at without having been told of anything. */
  eventPollMs: 5_000,
  /** How long an `EventSource` is asked to wait before it connects again. */
  eventRetryMs: 2_000,
  /** How long the command that follows waits before it connects again: the bound doubles with each failure. */
  eventReconnectMinMs: 250,
  eventReconnectMaxMs: 15_000,
  /** A stream without a sign of life for so long is given up. */
  eventSilenceMs: 45_000,
  /** One message as it comes: an entry and what is told beside it. */
  maxStreamMessageChars: 1024 * 1024,
  /** One message of a subscriber: a filter. */
  maxEventMessageBytes: 4 * 1024,
  /** Messages of a subscriber, sustained, and in one burst. */
  eventMessagesPerSecond: 2,
  eventMessageBurst: 20,
  /** Kinds that a filter names. */
  maxFilterKinds: 64,
} as const;
