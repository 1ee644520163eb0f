import { hash } from 'node:crypto';
import { z } from 'zod';
import { canonicalText } from '../../common/canonical.ts';
import { type Drift, driftChanges, driftSchema } from '../../common/drift.ts';
import {
  type ClockBefore,
  type EndedDrift,
  type GraceRule,
  graceClocks,
  mostTelling,
  troubleOf,
} from '../../common/enforcement/grace.ts';
import { setDigest } from '../../common/entry.ts';
import type { Body, Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { StateChange } from '../ports.ts';
import { toldPrefixes } from './account.ts';

/**
 * What the ledger has been told, or will be once the outbox is through: the fold over this node's own entries. Kept
 * beside the outbox and changed in the same write as the entries, so the two never disagree, whatever crashes.
 */
export interface Told {
  /** Digest of each container as last told, by container id. */
  readonly containers: ReadonlyMap<string, string>;
  /** Drifts told as standing, by drift id. */
  readonly drifts: ReadonlyMap<string, Drift>;
  /** Since when each of them has stood, Unix milliseconds. */
  readonly since: ReadonlyMap<string, number>;
  /** Unauthorized containers' drifts that ended a moment ago, by {@link troubleOf}: the clock of the next one may go on from theirs. */
  readonly ended: ReadonlyMap<string, EndedDrift>;
}

/** Something to say, and what has been told once it is said. */
export interface Saying {
  readonly statements: readonly Statement[];
  readonly changes: readonly StateChange[];
  readonly after: Told;
}

export const nothingTold: Told = { containers: new Map(), drifts: new Map(), since: new Map(), ended: new Map() };

const { container: containerPrefix, drift: driftPrefix, since: sincePrefix, ended: endedPrefix } = toldPrefixes;

const endedDrift = z.strictObject({ drift: driftSchema, sinceMs: z.number(), endedMs: z.number() });

/** Reads back what has been told. What cannot be read is told again: saying twice is harmless, not saying is not. */
export function readTold(state: ReadonlyMap<string, unknown>): Told {
  const containers = new Map<string, string>();
  const drifts = new Map<string, Drift>();
  const since = new Map<string, number>();
  const ended = new Map<string, EndedDrift>();
  for (const [key, value] of state) {
    if (key.startsWith(containerPrefix) && typeof value === 'string') {
      containers.set(key.slice(containerPrefix.length), value);
    }
    const drift = key.startsWith(driftPrefix) ? driftSchema.safeParse(value) : undefined;
    if (drift?.success) drifts.set(drift.data.id, drift.data);
    if (key.startsWith(sincePrefix) && typeof value === 'number') since.set(key.slice(sincePrefix.length), value);
    const over = key.startsWith(endedPrefix) ? endedDrift.safeParse(value) : undefined;
    if (over?.success) ended.set(key.slice(endedPrefix.length), over.data);
  }
  return { containers, drifts, since, ended };
}

/** Hex digest of all that is told about a container. */
export function containerDigest(container: ObservedContainer): string {
  return hash('sha256', canonicalText(container), 'hex');
}

/** One digest for a set of containers, as a report carries it. */
export function observedDigest(told: Told): string {
  return setDigest(told.containers.values());
}

/** One digest for the standing drifts, as a report carries it. */
export function driftsDigest(told: Told): string {
  return setDigest([...told.drifts.values()].map((drift) => canonicalText(drift)));
}

/**
 * What is new in the observed containers. `held` names containers that are known to exist but could not be inspected:
 * they stay as they were told.
 */
export function sayObserved(
  told: Told,
  observed: ReadonlyMap<string, ObservedContainer>,
  held: Pick<ReadonlySet<string>, 'has'>,
): Saying {
  const containers = new Map(told.containers);
  const changes: StateChange[] = [];
  const upserted: ObservedContainer[] = [];
  for (const [id, container] of observed) {
    const digest = containerDigest(container);
    if (containers.get(id) === digest) continue;
    containers.set(id, digest);
    changes.push({ key: `${containerPrefix}${id}`, value: digest });
    upserted.push(container);
  }
  const removed = [...told.containers.keys()].filter((id) => !observed.has(id) && !held.has(id));
  for (const id of removed) {
    containers.delete(id);
    changes.push({ key: `${containerPrefix}${id}`, value: undefined });
  }
  return { statements: observedStatements(upserted, removed), changes, after: { ...told, containers } };
}

/** A comparison and what it is to be told with. */
export interface Compared {
  readonly standing: readonly Drift[];
  /** Told drifts that nothing can be concluded about now. */
  readonly held: ReadonlySet<string>;
  readonly commit: string | null;
  /** Unix milliseconds. */
  readonly nowMs: number;
  readonly grace: GraceRule;
}

/** What is new in the drifts that stand. */
export function sayDrifts(told: Told, { standing, held, commit, nowMs, grace }: Compared): Saying {
  const { opened, changed, resolved } = driftChanges(told.drifts, standing, held);
  const drifts = new Map(told.drifts);
  const since = new Map(told.since);
  const { ended, changes } = endedBy(told, resolved, { nowMs, grace });
  const before = clockBefore(opened.length === 0 ? [] : ended.values(), grace);
  for (const drift of opened) {
    const sinceMs = before(drift, nowMs)?.sinceMs ?? nowMs;
    since.set(drift.id, sinceMs);
    changes.push({ key: `${sincePrefix}${drift.id}`, value: sinceMs });
  }
  for (const drift of [...opened, ...changed]) {
    drifts.set(drift.id, drift);
    changes.push({ key: `${driftPrefix}${drift.id}`, value: drift });
  }
  for (const id of resolved) {
    drifts.delete(id);
    since.delete(id);
    changes.push({ key: `${driftPrefix}${id}`, value: undefined }, { key: `${sincePrefix}${id}`, value: undefined });
  }
  const statements: Statement[] = [
    ...opened.map((drift): Statement => ({ kind: 'drift.opened', body: { drift, commit } })),
    ...changed.map((drift): Statement => ({ kind: 'drift.changed', body: { drift, commit } })),
    ...resolved.map((id): Statement => ({ kind: 'drift.resolved', body: { id, commit } })),
  ];
  return { statements, changes, after: { ...told, drifts, since, ended } };
}

function clockBefore(ended: Iterable<EndedDrift>, grace: GraceRule): ClockBefore<EndedDrift> {
  const clocks = graceClocks<EndedDrift>();
  for (const one of [...ended].sort((a, b) => a.endedMs - b.endedMs)) clocks.add(one.drift, one);
  return clocks.by(grace);
}

/** What is remembered of drifts that are over, for as long as another one's clock can go on from theirs. */
function endedBy(
  told: Told,
  resolved: readonly string[],
  { nowMs, grace: { graceMs } }: Pick<Compared, 'nowMs' | 'grace'>,
): { readonly ended: ReadonlyMap<string, EndedDrift>; readonly changes: StateChange[] } {
  const fresh = resolved.flatMap((id): EndedDrift[] => {
    const drift = told.drifts.get(id);
    if (drift?.kind !== 'UNAUTHORIZED_CONTAINER' || graceMs === 0) return [];
    return [{ drift, sinceMs: told.since.get(id) ?? nowMs, endedMs: nowMs }];
  });
  const all = new Map([...told.ended.values(), ...fresh].map((one) => [troubleOf(one.drift), one]));
  const recent = [...all.values()].filter(({ endedMs }) => nowMs - endedMs < graceMs);
  const kept = mostTelling(recent, limits.maxEndedDrifts);
  const ended = new Map(kept.map((one) => [troubleOf(one.drift), one]));
  const gone = [...told.ended.keys()].filter((id) => !ended.has(id));
  const changes: StateChange[] = [
    ...gone.map((id) => ({ key: `${endedPrefix}${id}`, value: undefined })),
    ...fresh
      .filter(({ drift }) => ended.has(troubleOf(drift)))
      .map((one) => ({ key: `${endedPrefix}${troubleOf(one.drift)}`, value: one })),
  ];
  return { ended, changes };
}

/** As few `observed` statements as fit into entries. */
function observedStatements(upserted: readonly ObservedContainer[], removed: readonly string[]): Statement[] {
  const bodies: Body<'observed'>[] = [];
  let open: Body<'observed'> | undefined;
  let bytes = 0;
  const room = (needed: number): Body<'observed'> => {
    if (open === undefined || bytes + needed > limits.maxObservedBytes) {
      open = { baseline: false, upserted: [], removed: [] };
      bodies.push(open);
      bytes = 0;
    }
    bytes += needed;
    return open;
  };
  // A removal goes first: a name that moved to another container is free before it is taken.
  for (const id of removed) room(id.length + 3).removed.push(id);
  for (const container of upserted) room(Buffer.byteLength(JSON.stringify(container)) + 1).upserted.push(container);
  return bodies.map((body): Statement => ({ kind: 'observed', body }));
}
