import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';

/** What one collector tells all of them of itself. */
export interface Present {
  /** Of this process, a UUID. */
  readonly id: string;
  /** What people know it by. */
  readonly name: string;
  /** Whose sockets it holds, in order. */
  readonly nodes: readonly string[];
}

/** Where collectors tell. Nothing in it need be durable: it is told again. May fail at any time. */
export interface PresenceStore {
  /** Takes the place of what the same process told before. */
  tell(present: Present): Promise<void>;
  /** Takes away what is so old that it does not count. */
  forgetStale(): Promise<void>;
  forget(id: string): Promise<void>;
}

export interface HoldingNeeds {
  readonly store: PresenceStore;
  readonly id: string;
  readonly name: string;
  /** Nodes that are connected here, now. */
  readonly nodes: () => readonly string[];
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly logger: Logger;
}

/**
 * Tells the others which nodes are connected here: at once when that changes, as far as a look notices, and every
 * `limits.presenceEveryMs` in any case.
 */
interface Holding {
  /** To be called every now and then. Never rejects: what could not be told is told with the next look. */
  look(): Promise<void>;
  /** Says that nobody is connected here any more. */
  leave(): Promise<void>;
}

export function createHolding({ store, id, name, nodes, clock, logger }: HoldingNeeds): Holding {
  let told: { readonly nodes: string; readonly atMs: number } | undefined;
  let complained = false;
  const attempt = async (work: () => Promise<void>): Promise<boolean> => {
    try {
      await work();
      complained = false;
      return true;
    } catch (thrown) {
      if (!complained) logger.warn('presence.untold', { error: toAppError(thrown) });
      complained = true;
      return false;
    }
  };
  return {
    look: async () => {
      const connected = [...nodes()].sort();
      const joined = connected.join(' ');
      const atMs = clock.monotonicMs();
      const isDue = told === undefined || atMs - told.atMs >= limits.presenceEveryMs;
      if (!isDue && told?.nodes === joined) return;
      const done = await attempt(async () => {
        await store.tell({ id, name, nodes: connected });
        if (isDue) await store.forgetStale();
      });
      if (done) told = { nodes: joined, atMs };
    },
    leave: async () => void (await attempt(() => store.forget(id))),
  };
}

/** Looks until stopped, and leaves then. */
export async function followHolding(needs: HoldingNeeds, signal: AbortSignal): Promise<void> {
  const holding = createHolding(needs);
  while (!signal.aborted) {
    await holding.look();
    await delay(limits.presenceLookMs, undefined, { signal }).catch(() => {});
  }
  await holding.leave();
}
