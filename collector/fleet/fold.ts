import type { Body } from '../../common/kinds.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { type From, type ProjectionChanges, project } from '../ledger/projections.ts';
import type { StorableEntry } from '../ledger/store.ts';
import type { Occurrence } from '../ledger/verify/occurrences.ts';
import type { AgentFacts, FleetContainer, FleetDrift, FleetFinding, FleetNode, ReportFacts } from './view.ts';

/** What a node's statements add up to so far. */
export interface NodeState {
  agent: AgentFacts | null;
  report: ReportFacts | null;
  readonly containers: Map<string, FleetContainer>;
  /** Those that stand, by id. */
  readonly drifts: Map<string, FleetDrift>;
  readonly findings: Map<string, FleetFinding>;
}

type Told = Pick<FleetNode, 'agent' | 'report' | 'containers' | 'drifts' | 'findings'>;

/** @param kept what was kept of the node at the last erasure, if it was known by then. */
export function stateOf(kept: Told | undefined): NodeState {
  const by = <T extends { readonly id: string }>(rows: readonly T[] = []) => new Map(rows.map((row) => [row.id, row]));
  return {
    agent: kept?.agent ?? null,
    report: kept?.report ?? null,
    containers: by(kept?.containers),
    drifts: by(kept?.drifts),
    findings: by(kept?.findings),
  };
}

/**
 * Goes on with the next entries of the node, which are read as for the projections: the same changes, applied to one node in
 * memory.
 * @param firstIndex of its first enrolment: what was said under the name before is not the word of its agent.
 */
export function goOn(state: NodeState, entries: readonly StorableEntry[], firstIndex: number): void {
  const { started, reports, ...changes } = project(entries);
  const start = started.findLast(({ index }) => index > firstIndex);
  const report = reports.findLast(({ index }) => index > firstIndex);
  if (start !== undefined) state.agent = agentFacts(start);
  if (report !== undefined) state.report = reportFacts(report);
  foldContainers(state, changes);
  foldDrifts(state, changes);
  foldFindings(state, changes);
}

type Changes = Pick<ProjectionChanges, 'baselines' | 'containers' | 'drifts' | 'findings'>;

function foldContainers({ containers: known }: NodeState, { baselines, containers }: Changes): void {
  if (baselines.length > 0) known.clear();
  for (const { id, index, container } of containers) {
    if (container === null) known.delete(id);
    else known.set(id, containerRow(container, index));
  }
}

function foldDrifts({ drifts: known }: NodeState, { drifts: { standing, baselines, opened } }: Changes): void {
  for (const { id, value, changedIndex, endedIndex } of standing) {
    const before = known.get(id);
    if (before === undefined) continue;
    if (endedIndex !== null) known.delete(id);
    else if (value !== null && changedIndex !== null) {
      known.set(id, { ...before, changed_index: changedIndex, ...driftValue(value) });
    }
  }
  if (baselines.length > 0) known.clear();
  for (const it of opened.filter(stands)) {
    known.set(it.id, {
      opened_index: it.openedIndex,
      opened_at: it.openedAt,
      changed_index: it.changedIndex,
      id: it.id,
      ...driftValue(it.value),
    });
  }
}

function foldFindings({ findings: known }: NodeState, { findings: { standing, baselines, opened } }: Changes): void {
  for (const { id, endedIndex } of standing) if (endedIndex !== null) known.delete(id);
  if (baselines.length > 0) known.clear();
  for (const { id, openedIndex, openedAt, value } of opened.filter(stands)) {
    const { store, finding } = value;
    known.set(id, { opened_index: openedIndex, opened_at: openedAt, id, store, check: finding.check, finding });
  }
}

function stands({ endedIndex }: Occurrence<unknown>): boolean {
  return endedIndex === null;
}

function driftValue({ drift, commit }: Body<'drift.opened'>) {
  const { kind, container, containerId, differences } = drift;
  return { kind, container, container_id: containerId, differences, commit };
}

function containerRow(seen: ObservedContainer, index: number): FleetContainer {
  return {
    id: seen.id,
    name: seen.name,
    image: seen.image,
    image_id: seen.imageId,
    state: seen.state,
    health: seen.health,
    exit_code: seen.exitCode,
    restart_count: seen.restartCount,
    created_at: seen.createdAt,
    started_at: seen.startedAt,
    finished_at: seen.finishedAt,
    seen_index: index,
  };
}

function agentFacts({ index, at, version, hostname }: From<'agent.started'>): AgentFacts {
  return { index, version, hostname, started_at: at };
}

function reportFacts({ index, minute, coverage, containers, drifts, stores, commit }: From<'report'>): ReportFacts {
  const { count, unobserved } = containers;
  return { index, minute, coverage, containers: count, unobserved, open_drifts: drifts.open, stores, commit };
}
