/** Where a job stands. */
export const jobStatuses = ['pending', 'running', 'retrying', 'done', 'failed'] as const;
export type JobStatus = (typeof jobStatuses)[number];

/**
 * How a run ended. `waiting`: nothing is wrong with the job, but a service was not there, or has not finished yet.
 * `returned`: the collector stopped. `interrupted`: the collector was gone before it could say.
 */
export const runOutcomes = ['done', 'failed', 'waiting', 'returned', 'interrupted'] as const;
export type RunOutcome = (typeof runOutcomes)[number];

/** Where a circuit breaker stands; `half-open`: the next request decides. */
export const breakerStates = ['closed', 'open', 'half-open'] as const;
export type BreakerState = (typeof breakerStates)[number];
