/** `minMs` bounds the first delay; the bound doubles with every attempt and never passes `maxMs`. */
export interface BackoffBounds {
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * How long to wait before trying again: exponential backoff with full jitter, so that a thousand agents cut off by one
 * outage do not come back in one instant.
 * @param attempt failures since the last success, counted from 0
 * @param random uniform in [0, 1), as `Math.random`
 * @returns whole milliseconds in [0, min(maxMs, minMs * 2^attempt)]
 */
export function backoffDelayMs(attempt: number, bounds: BackoffBounds, random: () => number): number {
  const ceilingMs = Math.min(bounds.maxMs, bounds.minMs * 2 ** Math.max(0, attempt));
  return Math.round(random() * ceilingMs);
}
