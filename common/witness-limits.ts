/** Bounds of witnessing: rounds of cosignatures, and what is kept of them. */
export const witnessLimits = {
  /** A checkpoint as agents hold, offer and keep it: the log's signature, without a crowd of cosignatures. */
  maxHeldNoteChars: 8_000,
  /** How often the collector has its newest checkpoint cosigned, at most; less often where that many witnesses would have more to do. */
  witnessRoundMs: 1_000,
  /** Of the time from one round to the next, for each witness; a round that somebody waits for does not wait for it. */
  witnessShareMs: 10,
  /** However many there are; below `maxUnwitnessedMs`. */
  maxWitnessRoundMs: 20_000,
  /** Checkpoints an agent cosigns come at least this far apart; less than a round, which may be late and the next one not. */
  cosignIntervalMs: 500,
  /** How long an ack waits for a round to settle which checkpoint it is about. */
  witnessGateMs: 100,
  /** How long cosignatures of one round are gathered before they are stored together. */
  witnessGatherMs: 20,
  /** Checkpoints offered to one agent that it has not answered; it gets no more until it does. */
  maxOffersUnanswered: 4,
  /** A quorum missing for longer than this while the log grew is put on record. */
  maxUnwitnessedMs: 60_000,
  /** Rounds older than this are thinned out to one witnessed checkpoint per hour; a thousand witnesses make eight million rows a day. */
  witnessRoundsKeptMs: 2 * 3_600_000,
  witnessPruneMs: 3_600_000,
  /** Between telling other collectors that a round is about to settle and settling it. */
  witnessNoticeMs: 25,
  /** Longest wait before an outside witness that failed is asked again. */
  maxOutsideBackoffMs: 10 * 60_000,
  /** How long a command that proves something waits for a quorum to cosign what was just appended. */
  witnessPatienceMs: 4_000,
  witnessPatienceStepMs: 100,
  /** Witnesses that a manifest may name beside the nodes. */
  maxOutsideWitnesses: 32,
  /** Nodes whose keys a manifest may pin; as many cosignatures must fit into one frame. */
  maxPinnedNodes: 1_000,
  /** A checkpoint with the cosignatures that an order needs. */
  maxCosignedNoteChars: 512 * 1024,
  outsideWitnessTimeoutMs: 10_000,
  /** The answer of an outside witness: its signature lines. */
  maxWitnessAnswerBytes: 64 * 1024,
  /** A cosignature by a clock further ahead than this counts for nothing; a clock that shows local time as UTC is within. */
  maxCosignatureAheadMs: 24 * 3_600_000,
} as const;
