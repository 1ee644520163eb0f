import { limits } from '../../common/limits.ts';

/** The circuit breaker of a channel: one that is down is left alone for a while, and its queue costs no attempts meanwhile. */
export interface BreakerState {
  /** Since the last success. */
  readonly failures: number;
  /** Unix milliseconds; 0 when it is closed. */
  readonly openUntilMs: number;
}

export type BreakerPosition = 'closed' | 'open' | 'probing';

/** `probing`: the next message decides. */
export function breakerPosition({ failures, openUntilMs }: BreakerState, nowMs: number): BreakerPosition {
  // No channel is left alone for longer: by then the clock was set back.
  if (nowMs < openUntilMs && openUntilMs - nowMs <= limits.alertBreakerMaxMs) return 'open';
  return failures >= limits.alertBreakerFailures ? 'probing' : 'closed';
}

/** Until when to leave the channel alone after so many failures in a row; 0 when not at all. */
export function openUntilMs(failures: number, nowMs: number): number {
  const beyond = failures - limits.alertBreakerFailures;
  if (beyond < 0) return 0;
  return nowMs + Math.min(limits.alertBreakerMaxMs, limits.alertBreakerMinMs * 2 ** Math.min(beyond, 30));
}
