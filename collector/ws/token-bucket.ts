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

export interface NodeRateBounds {
  readonly entries: TokenBucketBounds;
  /** Of what frames have beyond `freeBytesPerEntry`. */
  readonly excessBytes: TokenBucketBounds;
  readonly freeBytesPerEntry: number;
}

/** What one node may send: entries, and the bytes of large ones. */
export interface NodeRate {
  /** @returns how many milliseconds to wait before a frame of so many entries and bytes is gone on with. */
  take(frame: { readonly entries: number; readonly bytes: number }, nowMs: number): number;
}

export function createNodeRate(bounds: NodeRateBounds, startMs: number): NodeRate {
  const entryBucket = createTokenBucket(bounds.entries, startMs);
  const byteBucket = createTokenBucket(bounds.excessBytes, startMs);
  return {
    take: ({ entries, bytes }, nowMs) => {
      const excess = Math.max(0, bytes - entries * bounds.freeBytesPerEntry);
      return Math.max(entryBucket.take(entries, nowMs), byteBucket.take(excess, nowMs));
    },
  };
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
