import type { Drift } from '../drift.ts';
import { parseImageRef } from '../image.ts';
import { limits } from '../limits.ts';

/** Since when something counted as standing, and when it ended; Unix milliseconds by the node's clock. */
export interface EndedClock {
  readonly sinceMs: number;
  readonly endedMs: number;
}

/** An unauthorized container's drift that is over. */
export interface EndedDrift extends EndedClock {
  readonly drift: Drift;
}

/** What decides whether one unauthorized container is another one come back. */
export interface GraceRule {
  readonly graceMs: number;
  /** References of the images that are wanted on the node: that two containers have one of these says nothing. */
  readonly wantedImages: readonly string[];
}

/**
 * The clock that an unauthorized container's drift goes on with, since it is the same trouble come back: that of one that ended less
 * than the grace period before, of the same container, the same name, or an image of the same repository that nobody wants here.
 * Of several the one that has stood longest; undefined when there is none.
 * @param openedMs by the node's clock, Unix milliseconds.
 */
export type ClockBefore<C extends EndedClock> = (drift: Drift, openedMs: number) => C | undefined;

/** Drifts that are over, and what comes back of them. */
export interface GraceClocks<C extends EndedClock> {
  /** Costs little when what is added ended after all that was added before. */
  add(drift: Drift, clock: C): void;
  /** As the rule has it. Asks no more than a few clocks for each drift, however many there are. */
  by(rule: GraceRule): ClockBefore<C>;
  /** Forgets what ended before a moment, and of more keys than fit the youngest. */
  forget(endedBeforeMs: number): void;
  /** All that can be gone on with. */
  kept(): Iterable<C>;
}

/**
 * Whoever makes or renames containers in a loop must not begin a new grace period each time. The same on both sides: all of it is
 * told from what drifts themselves say.
 */
export function graceClocks<C extends EndedClock>(): GraceClocks<C> {
  /** Each list by its end, and so by its beginning: what ended earlier and is younger can never be the one that counts. */
  const byKey = new Map<string, C[]>();
  return {
    add: (drift, clock) => {
      for (const key of keysOf(drift)) {
        const its = byKey.get(key);
        if (its === undefined) byKey.set(key, [clock]);
        else insert(its, clock);
      }
    },
    by: (rule) => {
      const wanted = new Set(rule.wantedImages.map((reference) => imageKey(reference)));
      return (drift, openedMs) => {
        const found = keysOf(drift)
          .filter((key) => !wanted.has(key))
          .flatMap((key) => longestNear(byKey.get(key) ?? [], openedMs, rule.graceMs) ?? []);
        return found.reduce<C | undefined>((a, b) => (a === undefined || b.sinceMs < a.sinceMs ? b : a), undefined);
      };
    },
    forget: (endedBeforeMs) => {
      for (const [key, its] of byKey) {
        its.splice(0, firstEnding(its, endedBeforeMs));
        if (its.length === 0) byKey.delete(key);
      }
      if (byKey.size > limits.maxGraceKeys) forgetYoungest(byKey);
    },
    kept: () => [...byKey.values()].flat(),
  };
}

function insert<C extends EndedClock>(its: C[], clock: C): void {
  let at = its.length;
  while (at > 0 && (its[at - 1]?.endedMs ?? 0) > clock.endedMs) at--;
  const later = its[at];
  if (later !== undefined && later.sinceMs <= clock.sinceMs) return;
  let from = at;
  while (from > 0 && (its[from - 1]?.sinceMs ?? 0) >= clock.sinceMs) from--;
  its.splice(from, at - from, clock);
}

/** Lists are ordered by both, so the first one near is the one that stood longest. */
function longestNear<C extends EndedClock>(its: readonly C[], openedMs: number, graceMs: number): C | undefined {
  const near = its[firstEnding(its, openedMs - graceMs + 1)];
  if (near === undefined || near.sinceMs >= openedMs || near.endedMs > openedMs + limits.saidTogetherMs)
    return undefined;
  return near;
}

/** Where in the list those begin that ended at or after a moment. */
function firstEnding(its: readonly EndedClock[], ms: number): number {
  let [low, high] = [0, its.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((its[middle]?.endedMs ?? ms) < ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whoever makes a thousand containers to push one out makes young ones. Half of them at once, so that it is done seldom. */
function forgetYoungest(byKey: Map<string, readonly EndedClock[]>): void {
  const ages = [...byKey].map(([key, its]) => ({
    key,
    sinceMs: its[0]?.sinceMs ?? 0,
    endedMs: its.at(-1)?.endedMs ?? 0,
  }));
  ages.sort((a, b) => a.sinceMs - b.sinceMs || b.endedMs - a.endedMs);
  for (const { key } of ages.slice(limits.maxGraceKeys / 2)) byKey.delete(key);
}

/** By what another drift would be known as this one come back: the same for those that say the same to whoever asks. */
export function troubleOf(drift: Drift): string {
  return keysOf(drift).join(' ');
}

/**
 * So many of them, of which those come first that say of a name or an image what no other one says: then those that have stood
 * longest. Whoever makes a thousand containers to push one out makes young ones, or such as say the same.
 */
export function mostTelling<E extends EndedDrift>(ended: Iterable<E>, atMost: number): readonly E[] {
  const all = [...ended].sort((a, b) => a.sinceMs - b.sinceMs || b.endedMs - a.endedMs);
  const endedMs = new Map<string, number>();
  const [telling, others]: [E[], E[]] = [[], []];
  for (const one of all) {
    const [, ...keys] = keysOf(one.drift);
    const fresh = keys.filter((key) => (endedMs.get(key) ?? Number.NEGATIVE_INFINITY) < one.endedMs);
    for (const key of fresh) endedMs.set(key, one.endedMs);
    (fresh.length > 0 ? telling : others).push(one);
  }
  return [...telling, ...others].slice(0, atMost);
}

/** Drifts that have one of these in common are the same trouble. The first one is the container. */
function keysOf({ id, kind, container, differences }: Drift): readonly string[] {
  if (kind !== 'UNAUTHORIZED_CONTAINER') return [];
  const reference = differences.find(({ field }) => field === 'image')?.observed ?? null;
  const image = reference === null ? [] : [imageKey(reference)];
  return [`id ${id}`, `name ${container}`, ...image];
}

/** By repository. An id stands for itself: as a reference, all of them would be of one repository. */
function imageKey(reference: string): string {
  const isId = /^(sha256:)?[0-9a-f]{12,64}$/.test(reference);
  return `image ${isId ? reference : parseImageRef(reference).repository}`;
}
