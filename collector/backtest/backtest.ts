import type { KeyObject } from 'node:crypto';
import { rfc3339 } from '../../common/clock.ts';
import { driftSchema } from '../../common/drift.ts';
import { enforcementPolicy } from '../../common/enforcement/policy.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Manifest } from '../../common/manifest/manifest.ts';
import { observedContainer } from '../../common/observed.ts';
import type { Announcements } from '../enforcement/announcements.ts';
import { answeredKinds } from '../enforcement/freeze.ts';
import type { OpenDrift } from '../enforcement/ports.ts';
import { fleetAt } from '../fleet/at.ts';
import type { FleetNode } from '../fleet/view.ts';
import {
  BacktestAccount,
  type BacktestAction,
  type BacktestAlert,
  type BacktestGap,
  type BacktestHold,
  type RuleTotals,
} from './account.ts';
import { ConfigGround } from './config-ground.ts';
import { Hearing, takeMeasure } from './hearing.ts';
import type { ToldBefore } from './past-node.ts';
import type { BacktestView, ManifestAt } from './ports.ts';
import { type Beginning, beginOf, pastBatches } from './reading.ts';
import { Simulation } from './simulation.ts';

export interface BacktestNeeds {
  readonly manifest: Manifest;
  /** The period that is replayed, Unix milliseconds. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly collectorKey: KeyObject;
  /** Manifests that were in force once. */
  readonly manifestAt: ManifestAt;
  readonly announcements: Announcements;
  /** The one node that is told about; the whole fleet is replayed all the same. */
  readonly only: string | undefined;
  /** As if somebody released the manifest as soon as it is frozen. */
  readonly released: boolean;
  /** Told after every step: entries done and to do. What it throws ends the backtest. */
  readonly onProgress?: ((done: number, of: number) => void) | undefined;
}

/** A configuration that could not be judged: what there is of it stays on the node. */
export interface UnjudgedContainer {
  readonly node: string;
  readonly container: string;
  /** Index of the first entry after which that was so; null from the beginning. */
  readonly since_index: number | null;
  readonly reason: string;
}

export interface BacktestResult {
  readonly mode: string;
  readonly period: { readonly from: string; readonly to: string; readonly first_index: number; readonly size: number };
  /** Entries of the period whose bodies were erased: nothing before `to` could be replayed. */
  readonly erased: { readonly entries: number; readonly from: number; readonly to: number } | null;
  readonly nodes: readonly string[];
  readonly actions: readonly BacktestAction[];
  readonly alerts: readonly BacktestAlert[];
  readonly held: readonly BacktestHold[];
  readonly rules: readonly RuleTotals[];
  readonly unjudged: readonly UnjudgedContainer[];
  readonly gaps: readonly BacktestGap[];
  /** There was more of something than is listed; `rules` counts everything. */
  readonly cut: boolean;
}

/**
 * What the rules of a manifest would have done over a period, had all nodes adopted it at its beginning: the entries are replayed in
 * order, by the times at which they were received, and decided by the planner. The same ledger and the same period give the same
 * result.
 * @throws AppError `resource.not_found` for a node that was never enrolled; `ledger.tampered` when an entry is not what was logged.
 */
export async function backtest(view: BacktestView, needs: BacktestNeeds): Promise<BacktestResult> {
  const { manifest, only, toMs, announcements, released, onProgress } = needs;
  const policy = enforcementPolicy(manifest);
  const beginning = await beginOf(view, needs);
  const { began, start, size } = beginning;
  const account = new BacktestAccount(only, began);
  const ground = new ConfigGround(needs.manifestAt);
  const simulation = new Simulation({ manifest, policy, began, ground, announcements, account, released });
  await takeUp(simulation, view, beginning, needs);
  const hearing = new Hearing(simulation, account);
  for await (const batch of pastBatches(view, { from: start, to: size })) {
    await hearing.take(batch);
    onProgress?.((batch.statements.at(-1)?.index ?? start) + 1 - start, size - start);
  }
  await simulation.advance(toMs);
  const nodes = [...simulation.nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  if (only !== undefined && !simulation.nodes.has(only)) throw unknownNode(only, size);
  for (const { name, active, heardMs } of nodes) {
    const silentMs = toMs - heardMs;
    if (active && silentMs >= limits.backtestSilenceMs) account.gap(name, { fromMs: heardMs, toMs, reason: 'silent' });
  }
  const told = nodes.filter(({ name }) => only === undefined || only === name);
  const unjudged = told.flatMap((node) =>
    [...node.unjudged].map(([container, { reason, index }]) => {
      return { node: node.name, container, since_index: index === began.index ? null : index, reason };
    }),
  );
  const { actions, alerts, held, gaps, cut } = account;
  return {
    mode: policy.mode,
    period: { from: rfc3339(began.nowMs), to: rfc3339(toMs), first_index: start, size },
    erased: beginning.erased,
    nodes: told.map(({ name }) => name),
    ...{ actions, alerts, held, unjudged, gaps, cut },
    rules: account.totals(policy),
  };
}

/** The fleet as it was told up to the beginning; whoever was there then adopts the manifest. */
async function takeUp(
  simulation: Simulation,
  view: BacktestView,
  { began, start }: Beginning,
  { collectorKey, manifestAt, manifest }: Pick<BacktestNeeds, 'collectorKey' | 'manifestAt' | 'manifest'>,
): Promise<void> {
  const measures = await view.measuresBefore(start);
  for (const measure of measures) takeMeasure(simulation, measure);
  const adopted = new Map(
    measures.flatMap(({ author, said }) => (said.kind === 'desired.adopted' ? [[author, said.body.commit]] : [])),
  );
  // The last one that a node followed: of a rollout that was under way, the one that was to come.
  const before = [...adopted.values()].at(-1);
  const inForce = before === undefined ? undefined : await manifestAt(before);
  if (before !== undefined && inForce !== undefined) {
    simulation.comesAfter({ commit: before, answered: answeredKinds(enforcementPolicy(inForce)) });
  }
  // What opened longer ago than the grace period needs no other clock, and one that reaches back for twice as long is over as well.
  const sinceMs = began.nowMs - 3 * enforcementPolicy(manifest).answers.UNAUTHORIZED_CONTAINER.graceMs;
  for await (const past of fleetBefore(view, start, collectorKey)) {
    const ended = await view.endedDrifts(past.node, { sinceMs, afterIndex: -1, beforeIndex: start });
    const node = await simulation.enrol(past.node, { ...toldBy(past), ended });
    await simulation.follows(node, adopted.get(past.node) ?? null);
    node.active = past.state === 'active';
    node.complete = past.report !== null;
    node.unobserved = (past.report?.unobserved ?? 0) > 0;
    if (node.active && node.complete) simulation.adopt(node, began.nowMs);
    await takeUpOrders(simulation, view, past.node, { began, start });
  }
  const occasion = { index: began.index, atMs: began.nowMs, nowMs: began.nowMs };
  const nodes = [...simulation.nodes.values()];
  await simulation.settle(new Map(nodes.map((node) => [node, occasion])), nodes);
}

/** What people ordered counts for the limits, under whatever manifest. */
async function takeUpOrders(
  { book }: Simulation,
  view: BacktestView,
  node: string,
  { began, start }: Pick<Beginning, 'began' | 'start'>,
): Promise<void> {
  const orders = await view.ordersOf(node, began.nowMs - limits.ordersRememberedMs, began.nowMs);
  for (const { index, order, events } of orders) {
    const before = events.filter((event) => event.index < start);
    if (order.origin === 'operator' && index < start) book.add(index, order, before);
  }
}

async function* fleetBefore(view: BacktestView, size: number, collectorKey: KeyObject): AsyncGenerator<FleetNode> {
  const limit = limits.pageSizeMax;
  for (let after: string | undefined; size > 0; ) {
    const page = await fleetAt(view.fleet, size, { after, limit, node: undefined }, collectorKey);
    yield* page;
    if (page.length < limit) return;
    after = page.at(-1)?.node;
  }
}

function toldBy({ node, containers, drifts }: FleetNode): Pick<ToldBefore, 'containers' | 'drifts'> {
  return {
    containers: containers.map(({ image_id, exit_code, restart_count, created_at, started_at, finished_at, ...seen }) =>
      observedContainer.parse({
        ...{
          id: seen.id,
          name: seen.name,
          image: seen.image,
          imageId: image_id,
          state: seen.state,
          health: seen.health,
        },
        ...{ exitCode: exit_code, restartCount: restart_count },
        ...{ createdAt: created_at, startedAt: started_at, finishedAt: finished_at },
      }),
    ),
    drifts: drifts.map(({ id, kind, container, container_id, differences, ...open }): OpenDrift => {
      const drift = driftSchema.parse({ id, kind, container, containerId: container_id, differences });
      const openedAtMs = Date.parse(open.opened_at);
      return { node, drift, openedIndex: open.opened_index, openedAtMs, commit: open.commit };
    }),
  };
}

function unknownNode(node: string, size: number): AppError {
  return new AppError('resource.not_found', `no node ${node} was enrolled by the first ${size} entries`, {
    details: { node, size },
  });
}
