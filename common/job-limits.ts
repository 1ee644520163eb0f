/** Bounds of enforcement jobs; part of `limits`. */
export const jobLimits = {
  /** At the same time, in one collector. */
  jobConcurrency: 4,
  /** Dead letters, the newest, that are looked at to say how many wait for somebody. */
  maxDeadLettersCounted: 1_000,
  maxJobConcurrency: 64,
  /** Tries that failed before a job becomes a dead letter. What only waits for a service is none. */
  jobAttempts: 3,
  maxJobAttempts: 100,
  /** Between tries: the bound doubles with each. */
  jobBackoffMinMs: 5_000,
  jobBackoffMaxMs: 10 * 60_000,
  /** One run, from beginning to end. Must be shorter than the lease of the queue, which is 120 seconds. */
  jobRunTimeoutMs: 90_000,
  /** How often it is looked whether something is due. */
  jobPollMs: 500,
  /** How often jobs are taken back from collectors that are gone. */
  jobReclaimMs: 5_000,
  /** How often it is looked whether every enforcement that has no outcome has a job. */
  jobRestockMs: 3_600_000,
  maxJobsRestocked: 500,
  /** Of one job; a crash is not the receiver's fault, but a job that ends the collector each time must end some time. */
  maxJobInterruptions: 100,
  /** At a stop, what is under way may take so long to end. */
  jobStopMs: 10_000,
  maxTargetChars: 1_000,
  /** What is waited for outside, such as a transaction that no block has yet. */
  pinLookMs: 60_000,
  /** A pin waits this long, from when it was asked for, for a quorum of witnesses; then it goes without. */
  pinWitnessesMs: 3_600_000,
  /** A gateway that cannot be reached is tried again after this time. */
  spoolMs: 15_000,
  maxGatewayAnswerBytes: 256 * 1024,
  gatewayTimeoutMs: 15_000,
  /** What is kept for ever has a price by the byte. */
  maxPinnedBytes: 64 * 1024,
  pinConfirmations: 1,
  maxPinConfirmations: 1_000,
  /** Failures in a row after which a service is left alone, and for how long: doubling up to the second with each trial. */
  breakerFailures: 5,
  breakerMinMs: 10_000,
  breakerMaxMs: 10 * 60_000,
  /** A breaker of a service that nobody has used for so long is forgotten. */
  breakerForgottenMs: 30 * 86_400_000,
  maxBreakersListed: 1_000,
  maxAllowedNetworks: 64,
} as const;
