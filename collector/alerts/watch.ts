import type { Clock } from '../../common/clock.ts';
import type { Recorder } from '../enforcement/ports.ts';
import { type Condition, conditionKeys, conditionsOf, type NodeFacts } from './conditions.ts';
import type { AlertStore } from './ports.ts';
import type { Alert } from './standing.ts';

export interface ConditionWatchOptions {
  readonly store: Pick<AlertStore, 'atDesk'>;
  /** Of all nodes that may write to the ledger now. */
  readonly facts: () => Promise<readonly NodeFacts[]>;
  readonly ledger: Recorder;
  /** That of the collector, by which entries are received. */
  readonly clock: Pick<Clock, 'now'>;
}

/** Puts alerts on record for what is wrong with nodes. */
export interface ConditionWatch {
  /**
   * Raises what is wrong and not raised yet, and resolves what is right again. Where two collectors look at the same moment, an alert may
   * be raised twice, which is no news.
   * @throws AppError when something could not be read or put on record; the next look does it.
   */
  look(): Promise<void>;
}

/** Listens from now on: a node that was silent before may not have been able to say anything. */
export function createConditionWatch({ store, facts, ledger, clock }: ConditionWatchOptions): ConditionWatch {
  const sinceMs = clock.now();
  const raise = ({ key, severity, summary, node }: Condition) =>
    ledger.record({ kind: 'alert.raised', body: { key, severity, summary, node } });
  const resolve = ({ key }: Alert) =>
    ledger.record({ kind: 'alert.resolved', body: { key, reason: 'it is not so any more' } });

  /** Undefined where what was raised a moment ago, here or elsewhere, has not been read yet: nobody can say what stands. */
  const standing = () =>
    store.atDesk(async (desk) => {
      if ((await desk.nextEntries(1)).length > 0) return undefined;
      return (await desk.standing()).filter(({ key }) => conditionKeys.some((ours) => key.startsWith(ours)));
    });

  return {
    look: async () => {
      const nowMs = clock.now();
      const conditions = (await facts()).flatMap((node) => conditionsOf(node, { nowMs, sinceMs }));
      // Recorded once the desk is free again: the ledger needs a connection too, and the last one may be ours.
      const stands = await standing();
      if (stands === undefined) return;
      const raised = new Set(stands.map(({ key }) => key));
      const wrong = new Set<string>(conditions.map(({ key }) => key));
      await Promise.all([
        ...conditions.filter(({ key }) => !raised.has(key)).map(raise),
        ...stands.filter(({ key }) => !wrong.has(key)).map(resolve),
      ]);
    },
  };
}
