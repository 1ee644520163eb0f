/*
 * How often something was taken within the last window. The window slides by slices: what is counted covers all of the last
 * `windowMs`, and at most one slice more, so never more than the limit is taken in any stretch of that length.
 */

export interface WindowBounds {
  readonly windowMs: number;
  readonly slices: number;
  /** Keys that are counted each for itself. */
  readonly maxKeys: number;
  /** What all further ones together may take, in limits of one. */
  readonly crowdShare: number;
}

export interface Taken {
  readonly refused: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Until something of what was taken no longer counts. */
  readonly resetMs: number;
}

export interface SlidingWindow {
  /** @param nowMs never goes back. What is refused is not counted. */
  take(key: string, limit: number, nowMs: number): Taken;
  /** Keys that are counted now. */
  readonly size: number;
}

interface Counts {
  /** The newest slice that something was taken in. */
  slice: number;
  /** By slice, modulo their number. */
  readonly taken: Uint32Array;
}

/**
 * Whoever has many keys can make them be many, but never have one forgotten that still counts: when there is room for no
 * more, newcomers are counted together, and those who are there go on as before.
 */
export function createSlidingWindow({ windowMs, slices, maxKeys, crowdShare }: WindowBounds): SlidingWindow {
  const sliceMs = windowMs / slices;
  const held = slices + 1;
  const keys = new Map<string, Counts>();
  const crowd: Counts = { slice: 0, taken: new Uint32Array(held) };
  let sweptIn = -1;

  function sweep(slice: number): void {
    if (slice === sweptIn) return;
    sweptIn = slice;
    for (const [key, counts] of keys) if (counts.slice <= slice - held) keys.delete(key);
  }

  function countsOf(key: string, slice: number): Counts | undefined {
    const known = keys.get(key);
    if (known !== undefined) return known;
    if (keys.size >= maxKeys) sweep(slice);
    if (keys.size >= maxKeys) return undefined;
    const made = { slice, taken: new Uint32Array(held) };
    keys.set(key, made);
    return made;
  }

  return {
    take: (key, ownLimit, nowMs) => {
      const slice = Math.floor(nowMs / sliceMs);
      const own = countsOf(key, slice);
      const limit = own === undefined ? ownLimit * crowdShare : ownLimit;
      const counts = own ?? crowd;
      forget(counts, slice, held);
      const before = counts.taken.reduce((sum, each) => sum + each, 0);
      const refused = before >= limit;
      if (!refused) counts.taken[slice % held] = (counts.taken[slice % held] ?? 0) + 1;
      const oldest = oldestSlice(counts, slice, held);
      const resetMs = (oldest + held) * sliceMs - nowMs;
      return { refused, limit, remaining: Math.max(0, limit - before - (refused ? 0 : 1)), resetMs };
    },
    get size() {
      return keys.size;
    },
  };
}

/** Clears the places that slices since the newest one will be counted in. */
function forget(counts: Counts, slice: number, held: number): void {
  const from = Math.max(counts.slice + 1, slice - held + 1);
  for (let each = from; each <= slice; each += 1) counts.taken[each % held] = 0;
  counts.slice = Math.max(counts.slice, slice);
}

function oldestSlice({ taken }: Counts, slice: number, held: number): number {
  for (let each = slice - held + 1; each < slice; each += 1) {
    if (each >= 0 && (taken[each % held] ?? 0) > 0) return each;
  }
  return slice;
}
