import type { Clock } from '../../common/clock.ts';
import type { Announcement } from '../../common/enforcement/announcement.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { type Order, orderHash } from '../../common/order.ts';
import type { Announcements } from './announcements.ts';
import type { EnforcementMetrics, PlanningStore } from './desk-ports.ts';
import type { Dispatcher } from './dispatcher.ts';
import { answeredKinds, newlyAnswered, settledAt, suspicionOf } from './freeze.ts';
import type { Freeze, Freezer } from './freezer.ts';
import type { NodeClocks } from './graces.ts';
import { createHoldAlerts, type HoldAlerts } from './hold-alerts.ts';
import { plan } from './planner.ts';
import type { GovernedNodeRow, OpenDrift, Recorder, StandingMeasures } from './ports.ts';
import { endangersReplica, readReplicas, replicasLeft } from './replicas.ts';
import { RolloutWatch } from './rollout-watch.ts';
import type { HeldDrift, ManifestInForce, Plan, PlannedOrder, Situation } from './situation.ts';
import { createSharedRead, createTurns } from './turns.ts';

export interface RoundsOptions {
  readonly store: PlanningStore;
  readonly ledger: Recorder;
  readonly dispatcher: Dispatcher;
  readonly freezer: Freezer;
  readonly announcements: Announcements;
  readonly clock: Clock;
  /** As many random bytes, never used before. */
  readonly random: (bytes: number) => Buffer;
  readonly logger: Logger;
  readonly metrics: Pick<EnforcementMetrics, 'ordered'>;
}

/** What a round leaves. */
export interface RoundOutcome {
  readonly held: readonly HeldDrift[];
  /** When to look again, Unix milliseconds; undefined when time alone changes nothing. */
  readonly untilMs: number | undefined;
}

/** How much has been read for a plan: mostly little, and more where an order depends on it. */
export interface Depth {
  /** Orders of as long as they are remembered, instead of those that limits are judged by. */
  readonly wholeHistory: boolean;
  /** Containers whose replicas were looked up. */
  readonly containers: ReadonlySet<string>;
}

export const shallow: Depth = { wholeHistory: false, containers: new Set() };

interface Look {
  readonly drifts: readonly OpenDrift[];
  readonly plan: Plan;
  readonly freeze: Freeze;
  readonly sinceMs: number;
  readonly nowMs: number;
}

/** One look at one node: reads, plans, puts the orders on record and sends them. */
export class EnforcementRounds {
  readonly #options: RoundsOptions;
  readonly #watch = new RolloutWatch();
  readonly #holdAlerts: HoldAlerts;
  readonly #inTurn = createTurns();
  readonly #nodes: () => Promise<readonly GovernedNodeRow[]>;
  readonly #measures: () => Promise<StandingMeasures>;

  constructor(options: RoundsOptions) {
    const { store, clock } = options;
    this.#options = options;
    this.#holdAlerts = createHoldAlerts(options.ledger, store);
    this.#nodes = createSharedRead(() => store.nodes());
    this.#measures = createSharedRead(() => store.measures(clock.now()));
  }

  /**
   * One round for a node at a time. Looks at what all its entries say whose append has resolved before the call.
   * @param clocks of this node; kept up to date.
   * @throws AppError when something could not be read or put on record. What was put on record before stays, is sent, and is
   *   found by the next round.
   */
  async run(node: string, manifest: ManifestInForce, clocks: NodeClocks): Promise<RoundOutcome> {
    const beganMs = this.#options.clock.monotonicMs();
    const look = (depth: Depth) => this.#look(node, manifest, clocks, depth);
    const first = await look(shallow);
    const deeper = deeperThan(shallow, first);
    if (deeper === undefined) return this.#issue(node, first, beganMs);
    // Two nodes must not find each other's replica healthy and both replace their own.
    return this.#inTurn(async () => {
      for (let depth = deeper; ; ) {
        const closer = await look(depth);
        const more = deeperThan(depth, closer);
        if (more === undefined) return this.#issue(node, closer, beganMs);
        depth = more;
      }
    });
  }

  /** Reads side by side, so that a plan mostly costs the time of one query. */
  async #look(node: string, manifest: ManifestInForce, clocks: NodeClocks, depth: Depth): Promise<Look> {
    const { store, clock } = this.#options;
    const nowMs = clock.now();
    const sinceMs = nowMs - historyMs(manifest, depth);
    const watched = this.#watch.isWatched(manifest, nowMs);
    // Which of them count depends on what is frozen, which is being read.
    const answered = answeredKinds(manifest.policy);
    const [drifts, orders, measures, rows, early, replicas] = await Promise.all([
      store.openDrifts(node),
      store.ordersOf(node, sinceMs, nowMs),
      this.#measures(),
      this.#nodes(),
      watched ? store.driftsOfCommit(manifest.commit, answered) : undefined,
      this.#replicas(node, depth.containers, nowMs),
    ]);
    const earlier = await clocks.look(store, { node, drifts, manifest, nowMs });
    const isFrozen = (commit: string) => measures.frozen.some(({ body }) => body.commit === commit);
    const newly = newlyAnswered(manifest.policy, manifest.earlier ?? [], isFrozen);
    const rollout = this.#watch.rolloutOf(manifest, { rows, newlyAnswered: newly, nowMs });
    const needed = this.#watch.isWatched(manifest, nowMs);
    const freeze = await this.#freeze(
      measures,
      rollout,
      needed ? (early ?? (await store.driftsOfCommit(rollout.commit, newly))) : [],
      nowMs,
    );
    const row = rows.find((one) => one.node === node);
    // Not enrolled any more.
    if (row === undefined) return { drifts, plan: { orders: [], held: [] }, freeze, sinceMs, nowMs };
    const announcements = await this.#options.announcements.inForce(measures.announcements, nowMs);
    const imageIds = await this.#imageIds(node, drifts, announcements);
    const settled = settledAt(rollout, node);
    const { silences } = measures;
    const frozen = freeze.frozen;
    const known = { node: row, manifest, drifts, orders, frozen, silences, announcements, imageIds };
    const situation: Situation = { ...known, seenMs: clocks.seenMs, earlier, settled, replicas, nowMs };
    return { drifts, plan: plan(situation), freeze, sinceMs, nowMs };
  }

  async #freeze(
    { frozen }: StandingMeasures,
    rollout: Parameters<typeof suspicionOf>[0],
    early: Parameters<typeof suspicionOf>[1],
    nowMs: number,
  ): Promise<Freeze> {
    if (frozen.some(({ body }) => body.commit === rollout.commit)) return { frozen: true };
    const suspicion = suspicionOf(rollout, early);
    return suspicion === undefined ? { frozen: false } : this.#options.freezer.freeze(rollout.commit, suspicion, nowMs);
  }

  async #replicas(node: string, containers: ReadonlySet<string>, nowMs: number): Promise<Situation['replicas']> {
    const read = [...containers].map(async (container) => {
      const its = await readReplicas(this.#options.store, container, nowMs);
      return [container, replicasLeft(its, node)] as const;
    });
    return new Map(await Promise.all(read));
  }

  /** Only what announcements ask for. */
  async #imageIds(
    node: string,
    drifts: readonly OpenDrift[],
    announcements: readonly Announcement[],
  ): Promise<Situation['imageIds']> {
    const named = new Set(announcements.map(({ container }) => container));
    const asked = drifts.flatMap(({ drift }) =>
      drift.kind === 'IMAGE_DRIFT' && named.has(drift.container) && drift.containerId !== null
        ? [drift.containerId]
        : [],
    );
    const read = asked.map(async (id) => [id, await this.#options.store.imageId(node, id)] as const);
    const found = (await Promise.all(read)).flatMap(([id, imageId]) =>
      imageId === undefined ? [] : [[id, imageId] as const],
    );
    return new Map(found);
  }

  async #issue(node: string, { plan: { orders, held }, freeze, nowMs }: Look, beganMs: number): Promise<RoundOutcome> {
    // Together, so that one commit of the ledger takes them all. One that fails holds up none of the others.
    const done = await Promise.allSettled(orders.map((planned) => this.#order(planned, nowMs, beganMs)));
    const failed = done.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    await this.#holdAlerts.looked(node, held, nowMs);
    const times = [...held, freeze].flatMap(({ untilMs }) => untilMs ?? []);
    return { held, untilMs: times.length === 0 ? undefined : Math.min(...times) };
  }

  /** A crash before the entry is committed leaves nothing; after it, the order is found waiting, and sent. */
  async #order(planned: PlannedOrder, nowMs: number, beganMs: number): Promise<void> {
    const { ledger, dispatcher, random, clock, logger, metrics } = this.#options;
    const order: Order = { ...planned, nonce: random(nonceBytes).toString('hex') };
    const { index, bytes, signature } = await ledger.record({ kind: 'order.issued', body: { order } });
    const hash = orderHash(order);
    dispatcher.fresh({ hash, index, order, bytes, signature }, nowMs);
    const { node, action, container, approvals } = order;
    metrics.ordered(action, (clock.monotonicMs() - beganMs) / 1_000);
    logger.info('enforcement.ordered', { order: hash, index, node, action, container, approvals });
  }
}

const nonceBytes = 16;

/** How old orders may be that are read for a plan. */
export function historyMs({ policy }: Pick<ManifestInForce, 'policy'>, { wholeHistory }: Depth): number {
  if (wholeHistory) return limits.ordersRememberedMs;
  return Math.max(limits.dailyWindowMs, policy.governance.cooldown_ms);
}

/** What has to be read yet before the orders of a plan can be given; undefined when nothing is missing. */
export function deeperThan(
  depth: Depth,
  { drifts, plan: { orders }, sinceMs }: Pick<Look, 'drifts' | 'plan' | 'sinceMs'>,
): Depth | undefined {
  const endangered = orders.flatMap(({ action, container, drift }) =>
    drift !== null && endangersReplica(action, drift.kind) ? [container] : [],
  );
  const unknown = endangered.some((container) => !depth.containers.has(container));
  const answered = new Set(orders.map(({ drift }) => drift?.id));
  const stale = drifts.some(({ drift, openedAtMs }) => openedAtMs < sinceMs && answered.has(drift.id));
  const older = stale && !depth.wholeHistory;
  if (!unknown && !older) return undefined;
  return {
    wholeHistory: depth.wholeHistory || older,
    containers: new Set([...depth.containers, ...endangered]),
  };
}
