import { rfc3339 } from '../../common/clock.ts';
import type { Agent, EngineState } from '../agent.ts';
import type { Link } from '../link/link.ts';
import type { Outbox } from '../outbox/outbox.ts';
import type { ScanProgress, StoreWatch } from '../stores.ts';
import type { Cycle } from '../told/coverage-account.ts';

export interface StatusSources {
  readonly node: string;
  readonly version: string;
  readonly agent: Agent;
  readonly link: Link;
  readonly outbox: Pick<Outbox, 'depth' | 'bytes' | 'head' | 'recovery'>;
  readonly stores: readonly StoreWatch[];
  readonly lastCycle: () => Cycle | undefined;
}

export type AgentStatus = ReturnType<typeof agentStatus>;

/** All there is to know about a running agent, as `/healthz` and `status` show it. */
export function agentStatus({ node, version, agent, link, outbox, stores, lastCycle }: StatusSources) {
  const cycle = lastCycle();
  const storeStates = stores.map((store) => store.summary);
  const { containers, drifts, commit, measures } = agent.summary;
  const connection = link.status();
  // Being cut off is what the outbox is for; being turned away needs somebody to act.
  const welcome = connection.state !== 'forked' && connection.state !== 'refused';
  const sound = welcome && storeStates.every(({ status }) => status !== 'unreadable');
  return {
    status: healthOf(agent.engine, sound),
    node,
    version,
    engine: agent.engine,
    lastScan:
      cycle === undefined ? null : { minute: rfc3339(cycle.slot), coverage: cycle.coverage, scanMs: cycle.scanMs },
    containers: containers.count,
    unobserved: containers.unobserved,
    openDrifts: drifts.open,
    commit,
    /** That hold orders back, or ended what did; not `complete` where some were told that could not be remembered. */
    measures,
    stores: storeStates,
    /** Scans under way, and how far they have come. */
    scanning: stores.flatMap(({ name, progress }) => (progress === undefined ? [] : [{ store: name, ...progress }])),
    /** The last full check of each store that had one. */
    checks: stores.flatMap(({ name, lastCheck }) => (lastCheck === undefined ? [] : [{ store: name, ...lastCheck }])),
    outbox: { depth: outbox.depth, bytes: outbox.bytes, headSeq: outbox.head.seq, recovered: recoveredOf(outbox) },
    link: connection,
  };
}

/** Whether it was found damaged and built anew since the start of the agent. `missing` is null where nothing tells how many. */
function recoveredOf({ recovery }: Pick<Outbox, 'recovery'>) {
  if (recovery === undefined) return null;
  const { reason, salvaged, missing = null, quarantine = null } = recovery;
  return { reason, salvaged, missing, quarantine };
}

/** From 0 to 1; undefined where it is not known how much there is to read. What was written meanwhile comes on top. */
export function scanShare({ bytes, totalBytes }: Pick<ScanProgress, 'bytes' | 'totalBytes'>): number | undefined {
  return totalBytes === null || totalBytes === 0 ? undefined : Math.min(bytes / totalBytes, 1);
}

/** `starting` until the engine is known to be there or not. */
function healthOf(engine: EngineState, sound: boolean): 'ok' | 'starting' | 'degraded' {
  if (!sound || engine === 'down') return 'degraded';
  return engine === 'unknown' ? 'starting' : 'ok';
}
