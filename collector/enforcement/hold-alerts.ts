import { amount } from '../../common/amount.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { AlertKey } from '../alerts/catalog.ts';
import { named } from '../alerts/named.ts';
import type { PlanningStore } from './desk-ports.ts';
import type { Recorder } from './ports.ts';
import type { HeldDrift } from './situation.ts';

/** Tells people what is held up until they do something about it. */
export interface HoldAlerts {
  /**
   * What a look at a node has found to be held. Raises an alert once in 24 hours for as long as it is so, and resolves it afterwards.
   * A collector that has just started knows of none: it raises one that is still due again, under the same key, and looks once for
   * each that the collector before has left standing.
   * @throws AppError when it could not be put on record; to be called again with the next look.
   */
  looked(node: string, held: readonly HeldDrift[], nowMs: number): Promise<void>;
}

/** Why drifts are held, and what is said of it. */
const told = [
  // Throwaway containers can use it up before a real one comes.
  {
    code: 'daily_limit',
    summary: (node: string, drifts: number) =>
      `governance.daily_limit of ${node} is used up, and ${amount(drifts, 'drift')} ${drifts === 1 ? 'is' : 'are'} not answered because of it`,
  },
  {
    code: 'exhausted',
    summary: (node: string, drifts: number) =>
      `on ${node}, the orders for ${amount(drifts, 'drift')} came to nothing as often as rollback.max_retries allows, and no more are given`,
  },
] as const;
type Told = (typeof told)[number];

export function createHoldAlerts(ledger: Recorder, store: Pick<PlanningStore, 'alertStands'>): HoldAlerts {
  /** When each was raised last, by its key, Unix milliseconds; undefined where it does not stand, missing where nobody has looked. */
  const raisedMs = new Map<string, number | undefined>();
  const look = async (why: Told, node: string, held: readonly HeldDrift[], nowMs: number): Promise<void> => {
    const key: AlertKey = `enforcement.${why.code}/${node}`;
    const waiting = held.filter(({ code }) => code === why.code);
    const lastMs = raisedMs.get(key);
    if (waiting.length === 0) {
      const stands = raisedMs.has(key) ? lastMs !== undefined : await store.alertStands(key);
      if (stands) {
        await ledger.record({ kind: 'alert.resolved', body: { key, reason: 'no drift is held up by it any more' } });
      }
      raisedMs.set(key, undefined);
    } else if (lastMs === undefined || nowMs - lastMs >= limits.dailyWindowMs) {
      await ledger.record(raised(key, { node, summary: why.summary(node, waiting.length), waiting }));
      raisedMs.set(key, nowMs);
    }
  };
  return {
    looked: async (node, held, nowMs) => {
      for (const why of told) await look(why, node, held, nowMs);
    },
  };
}

interface Held {
  readonly node: string;
  readonly summary: string;
  readonly waiting: readonly HeldDrift[];
}

function raised(key: AlertKey, { node, summary, waiting }: Held): Statement {
  const names = named(waiting.map(({ drift }) => drift.drift.container));
  return { kind: 'alert.raised', body: { key, severity: 'error', summary: `${summary}: ${names}`, node } };
}
