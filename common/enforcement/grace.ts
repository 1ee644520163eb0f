import type { Drift } from '../drift.ts';
import { parseImageRef } from '../image.ts';
import { limits } from '../limits.ts';

/** An unauthorized container's drift that is over. */
export interface EndedDrift {
  readonly drift: Drift;
  /** Since when it counted as standing, and when it ended; Unix milliseconds by the node's clock. */
  readonly sinceMs: number;
  readonly endedMs: number;
}

/** What decides whether one unauthorized container is another one come back. */
export interface GraceRule {
  readonly graceMs: number;
  /** References of the images that are wanted on the node: that two containers have one of these says nothing. */
  readonly wantedImages: readonly string[];
}

/** Drifts that are over, and what comes back of them. */
export interface GraceClocks<E extends EndedDrift> {
  add(ended: E): void;
  /**
   * The drift whose clock an unauthorized container's drift goes on with, since it is the same trouble come back: one that ended less
   * than the grace period before, of the same container, the same name, or an image of the same repository that nobody wants here.
   * Of several the one that has stood longest; undefined when there is none.
   * @param openedMs by the node's clock, Unix milliseconds.
   */
  before(drift: Drift, openedMs: number): E | undefined;
}

/**
 * Whoever makes or renames containers in a loop must not begin a new grace period each time. The same on both sides: all of it is
 * told from what drifts themselves say.
 */
export function graceClocks<E extends EndedDrift>(rule: GraceRule, ended: Iterable<E> = []): GraceClocks<E> {
  const wanted = new Set(rule.wantedImages.map(repositoryOf));
  const byKey = new Map<string, E[]>();
  const clocks: GraceClocks<E> = {
    add: (one) => {
      for (const key of keysOf(one.drift, wanted)) {
        const its = byKey.get(key) ?? [];
        its.push(one);
        byKey.set(key, its);
      }
    },
    before: (drift, openedMs) => {
      const same = keysOf(drift, wanted).flatMap((key) => byKey.get(key) ?? []);
      const near = same.filter(
        ({ sinceMs, endedMs }) =>
          sinceMs < openedMs && openedMs - endedMs < rule.graceMs && endedMs <= openedMs + limits.saidTogetherMs,
      );
      return near.reduce<E | undefined>((a, b) => (a === undefined || b.sinceMs < a.sinceMs ? b : a), undefined);
    },
  };
  for (const one of ended) clocks.add(one);
  return clocks;
}

/** Drifts that have one of these in common are the same trouble. */
function keysOf({ id, kind, container, differences }: Drift, wanted: ReadonlySet<string>): readonly string[] {
  if (kind !== 'UNAUTHORIZED_CONTAINER') return [];
  const reference = differences.find(({ field }) => field === 'image')?.observed ?? null;
  const repository = reference === null ? undefined : repositoryOf(reference);
  const image = repository === undefined || wanted.has(repository) ? [] : [`image ${repository}`];
  return [`id ${id}`, `name ${container}`, ...image];
}

/** An id stands for itself: as a reference, all of them would be of one repository. */
function repositoryOf(reference: string): string {
  return /^(sha256:)?[0-9a-f]{12,64}$/.test(reference) ? reference : parseImageRef(reference).repository;
}
