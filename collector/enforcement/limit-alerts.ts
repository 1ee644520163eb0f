import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { PlanningStore } from './desk-ports.ts';
import type { Recorder } from './ports.ts';
import type { HeldDrift } from './situation.ts';

/** Tells people that the daily limit of a node holds something up: throwaway containers can use it up before a real one comes. */
export interface LimitAlerts {
  /**
   * What a look at a node has found to be held. Raises the alert once in 24 hours for as long as it is so, and resolves it afterwards.
   * A collector that has just started knows of none: it raises one that is still due again, under the same key, and looks once for
   * one that the collector before has left standing.
   * @throws AppError when it could not be put on record; to be called again with the next look.
   */
  looked(node: string, held: readonly HeldDrift[], nowMs: number): Promise<void>;
}

export function createLimitAlerts(ledger: Recorder, store: Pick<PlanningStore, 'alertStands'>): LimitAlerts {
  /** When it was raised last, by node, Unix milliseconds; undefined where it does not stand, missing where nobody has looked. */
  const raisedMs = new Map<string, number | undefined>();
  return {
    looked: async (node, held, nowMs) => {
      const waiting = held.filter(({ code }) => code === 'daily_limit');
      const lastMs = raisedMs.get(node);
      if (waiting.length === 0) {
        const stands = raisedMs.has(node) ? lastMs !== undefined : await store.alertStands(keyOf(node));
        if (stands) await ledger.record(resolved(node));
        raisedMs.set(node, undefined);
      } else if (lastMs === undefined || nowMs - lastMs >= limits.dailyWindowMs) {
        await ledger.record(raised(node, waiting));
        raisedMs.set(node, nowMs);
      }
    },
  };
}

const keyOf = (node: string): string => `enforcement.daily_limit/${node}`;

const namedAtMost = 10;

function raised(node: string, waiting: readonly HeldDrift[]): Statement {
  const names = waiting.map(({ drift }) => drift.drift.container.slice(0, maxNameChars).toWellFormed());
  const shown = [...names.slice(0, namedAtMost), ...(names.length > namedAtMost ? ['...'] : [])].join(', ');
  const summary = `governance.daily_limit of ${node} is used up, and ${waiting.length} drifts are not answered because of it: ${shown}`;
  return { kind: 'alert.raised', body: { key: keyOf(node), severity: 'error', summary, node } };
}

/** Whoever names containers must not fill the summary. */
const maxNameChars = 64;

function resolved(node: string): Statement {
  const reason = 'no drift is held up by it any more';
  return { kind: 'alert.resolved', body: { key: keyOf(node), reason } };
}
