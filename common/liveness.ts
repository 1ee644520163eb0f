/** Monotonic milliseconds. */
export interface LivenessBounds {
  readonly pingIntervalMs: number;
  readonly pongTimeoutMs: number;
}

export type LivenessVerdict = 'alive' | 'ping' | 'dead';

/** Decides when a silent peer is asked for a sign of life, and when it is given up. */
export interface Liveness {
  /** Anything at all came from the peer, or nothing could have been heard until now. */
  heard(nowMs: number): void;
  /** `ping` is said once per silence; the caller sends it. */
  check(nowMs: number): LivenessVerdict;
}

/** A liveness account that starts as just heard. */
export function createLiveness({ pingIntervalMs, pongTimeoutMs }: LivenessBounds, startMs: number): Liveness {
  let heardAtMs = startMs;
  let askedAtMs: number | undefined;
  return {
    heard: (nowMs) => {
      heardAtMs = nowMs;
      askedAtMs = undefined;
    },
    check: (nowMs) => {
      if (askedAtMs !== undefined) return nowMs - askedAtMs >= pongTimeoutMs ? 'dead' : 'alive';
      if (nowMs - heardAtMs < pingIntervalMs) return 'alive';
      askedAtMs = nowMs;
      return 'ping';
    },
  };
}
