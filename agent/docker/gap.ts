import type { ObservedContainer } from '../../common/observed.ts';

/** What a container did while nobody watched; null for what lies outside the gap. RFC 3339 UTC. */
export interface MissedLife {
  readonly containerId: string;
  readonly name: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
}

/**
 * What the containers' own records still tell about a missed period (Unix milliseconds, both ends included), earliest
 * first. Only the last start and finish are recorded, and containers removed meanwhile left nothing: this narrows a
 * gap, it does not close it.
 */
export function rebuildGap(containers: Iterable<ObservedContainer>, fromMs: number, toMs: number): MissedLife[] {
  const inside = (time: string | null): string | null => {
    const timeMs = time === null ? Number.NaN : Date.parse(time);
    return timeMs >= fromMs && timeMs <= toMs ? time : null;
  };
  const missed: MissedLife[] = [];
  for (const container of containers) {
    const startedAt = inside(container.startedAt);
    const finishedAt = inside(container.finishedAt);
    if (startedAt === null && finishedAt === null) continue;
    missed.push({ containerId: container.id, name: container.name, startedAt, finishedAt });
  }
  return missed.sort((a, b) => earliestMs(a) - earliestMs(b));
}

function earliestMs(life: MissedLife): number {
  return Math.min(...[life.startedAt, life.finishedAt].flatMap((time) => (time === null ? [] : [Date.parse(time)])));
}
