export interface TokenBucketBounds {
  readonly perSecond: number;
  /** What may be taken at once after a silence. */
  readonly burst: number;
}

/** A rate limit that never refuses: whoever takes more than there is waits until the debt is paid. */
export interface TokenBucket {
  /** @returns how many milliseconds to wait before going on; 0 within the limit. Times are monotonic. */
  take(amount: number, nowMs: number): number;
}

export function createTokenBucket({ perSecond, burst }: TokenBucketBounds, startMs: number): TokenBucket {
  let tokens = burst;
  let filledAtMs = startMs;
  return {
    take: (amount, nowMs) => {
      tokens = Math.min(burst, tokens + ((nowMs - filledAtMs) / 1_000) * perSecond) - amount;
      filledAtMs = nowMs;
      return tokens >= 0 ? 0 : Math.ceil((-tokens / perSecond) * 1_000);
    },
  };
}
