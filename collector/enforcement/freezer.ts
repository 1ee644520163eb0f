import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { EnforcementMetrics, PlanningStore } from './desk-ports.ts';
import { freezeStatements, type Suspicion } from './freeze.ts';
import type { OrderCarrier, Recorder } from './ports.ts';
import { createTurns } from './turns.ts';

export interface FreezerOptions {
  readonly store: Pick<PlanningStore, 'wasFrozen' | 'measures'>;
  readonly ledger: Recorder;
  readonly carrier: Pick<OrderCarrier, 'nodes'>;
  readonly logger: Logger;
  readonly metrics: Pick<EnforcementMetrics, 'frozen'>;
}

export interface Freeze {
  /** Nothing may be ordered by the commit. */
  readonly frozen: boolean;
  /** When to look again, Unix milliseconds; undefined when nothing is outstanding. */
  readonly untilMs?: number;
}

/** Puts a freeze on record: once for a commit, whoever notices, and never again after somebody has released it. */
export interface Freezer {
  /** @throws AppError when it could not be put on record; nothing may be ordered then either. */
  freeze(commit: string, suspicion: Suspicion, nowMs: number): Promise<Freeze>;
}

/** What is known of the one commit that is in force. */
interface Known {
  readonly commit: string;
  readonly noticedMs: number;
  alerted: boolean;
  released: boolean;
}

export function createFreezer({ store, ledger, carrier, logger, metrics }: FreezerOptions): Freezer {
  const inTurn = createTurns();
  let last: Known | undefined;

  function knownOf(commit: string, nowMs: number): Known {
    if (last?.commit !== commit) last = { commit, noticedMs: nowMs, alerted: false, released: false };
    return last;
  }

  async function freeze(commit: string, suspicion: Suspicion, nowMs: number): Promise<Freeze> {
    const known = knownOf(commit, nowMs);
    if (known.released) return { frozen: false };
    // Several collectors notice at once: it is for the one that has the first of the nodes, unless it does not come to it.
    const [first = ''] = suspicion.nodes;
    const untilMs = known.noticedMs + limits.freezeElsewhereMs;
    const elsewhere = !carrier.nodes().includes(first) && nowMs < untilMs;
    if (await store.wasFrozen(commit)) {
      const { frozen } = await store.measures(nowMs);
      known.released = !frozen.some(({ body }) => body.commit === commit);
      return { frozen: !known.released };
    }
    if (elsewhere) return { frozen: true, untilMs };
    await record(known, suspicion);
    return { frozen: true };
  }

  /**
   * The alert comes first: a crash between the two lets it be raised again, under the same key, while one after the freeze
   * would have nobody told at all.
   */
  async function record(known: Known, suspicion: Suspicion): Promise<void> {
    const { alert, frozen } = freezeStatements(known.commit, suspicion);
    if (!known.alerted) await ledger.record(alert);
    known.alerted = true;
    await ledger.record(frozen);
    metrics.frozen();
    const { drift, nodes } = suspicion;
    logger.error('enforcement.frozen', {
      commit: known.commit,
      drift,
      nodes: nodes.slice(0, limits.maxFrozenNodesNamed),
    });
  }

  return { freeze: (commit, suspicion, nowMs) => inTurn(() => freeze(commit, suspicion, nowMs)) };
}
