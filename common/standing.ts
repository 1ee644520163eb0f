import { limits } from './limits.ts';
import type { ObservedContainer } from './observed.ts';

/**
 * What keeps a wanted container from its work, in words for the drift; undefined when nothing does. A container that crashes
 * and is restarted counts as crash-looping until it has stayed up for a while: otherwise its drift would end and begin with
 * every restart. For the same reason one that is just being started is given a moment.
 * @param nowMs Unix milliseconds by the engine's clock.
 */
export function standstill(container: ObservedContainer, nowMs: number): string | undefined {
  const { state, exitCode, restartCount, createdAt, startedAt } = container;
  switch (state) {
    case 'running': {
      const looping = restartCount >= limits.crashLoopRestarts && isYounger(startedAt, limits.crashLoopCalmMs, nowMs);
      return looping ? crashLooping : undefined;
    }
    case 'restarting':
      return restartCount >= limits.crashLoopRestarts ? crashLooping : undefined;
    case 'created':
      return isYounger(createdAt, limits.startWithinMs, nowMs) ? undefined : 'never started';
    case 'exited':
      return `exited (${exitCode})`;
    case 'paused':
    case 'removing':
    case 'dead':
      return state;
    default:
      return state satisfies never;
  }
}

const crashLooping = 'crash-looping';

/** A time that cannot be read is long ago. */
function isYounger(time: string | null, ageMs: number, nowMs: number): boolean {
  return time !== null && nowMs - Date.parse(time) < ageMs;
}
