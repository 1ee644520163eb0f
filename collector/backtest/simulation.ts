import { onlyMountedFiles } from '../../common/config-drift.ts';
import type { DriftKind } from '../../common/drift-kind.ts';
import type { EnforcementPolicy } from '../../common/enforcement/policy.ts';
import { limits } from '../../common/limits.ts';
import { compileDesired } from '../../common/manifest/compile.ts';
import type { Manifest } from '../../common/manifest/manifest.ts';
import type { Announcements } from '../enforcement/announcements.ts';
import {
  type Adoption,
  type EarlierManifest,
  freezeStatements,
  newlyAnswered,
  type SuspectDrift,
  settledAt,
  suspicionOf,
} from '../enforcement/freeze.ts';
import { plan } from '../enforcement/planner.ts';
import type { OpenDrift, StandingMeasures } from '../enforcement/ports.ts';
import { replicasLeft } from '../enforcement/replicas.ts';
import { deeperThan, historyMs, shallow } from '../enforcement/rounds.ts';
import type { HeldDrift, Plan, PlannedOrder, Situation } from '../enforcement/situation.ts';
import type { BacktestAccount, Began } from './account.ts';
import type { ConfigGround } from './config-ground.ts';
import { Looks } from './looks.ts';
import { OrderBook } from './order-book.ts';
import { type Occasion, PastNode, type ToldBefore } from './past-node.ts';

/** How the manifest is named that nobody has committed yet. */
export const simulatedCommit = 'this manifest';

export interface SimulationOptions {
  readonly manifest: Manifest;
  readonly policy: EnforcementPolicy;
  readonly began: Began;
  readonly ground: ConfigGround;
  readonly announcements: Announcements;
  readonly account: BacktestAccount;
  /** As if somebody released the manifest as soon as it is frozen. */
  readonly released: boolean;
}

/**
 * The enforcement of a manifest in virtual time, which goes on with what was received and with what is due. Everything is decided
 * by the planner itself; here is only what it is told, and what its orders would have done: each that needs no approval is
 * carried out at once, and successfully.
 */
export class Simulation {
  readonly #options: SimulationOptions;
  readonly nodes = new Map<string, PastNode>();
  readonly book = new OrderBook();
  /** By id. */
  readonly silences = new Map<string, StandingMeasures['silences'][number]>();
  readonly announced: StandingMeasures['announcements'][number][] = [];
  readonly #looks = new Looks();
  readonly #adoptions: Adoption[] = [];
  /** Drifts that were opened or changed while nodes were settling, and those that stood before. */
  readonly #early: SuspectDrift[] = [];
  #newlyAnswered: readonly DriftKind[] = [];
  #watchedUntilMs = 0;
  #suspected = false;
  #nowMs: number;
  /** Of the last entry that was heard. */
  #index: number;
  /** Nodes that were not there when they were to be looked at. */
  readonly #missed = new Set<string>();
  /** Nodes that wait for another replica: since when, Unix milliseconds, and of which containers. */
  readonly #lastReplicas = new Map<string, { readonly sinceMs: number; readonly names: ReadonlySet<string> }>();

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#nowMs = options.began.nowMs;
    this.#index = options.began.index;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** The manifest that was really in force when this one begins; without it, no rule counts as changed. */
  comesAfter(before: EarlierManifest): void {
    this.#newlyAnswered = newlyAnswered(this.#options.policy, [before], () => false);
  }

  /** A node that is not known yet. @param told what it told before the period. */
  async enrol(name: string, told?: ToldBefore): Promise<PastNode> {
    const desired = compileDesired(this.#options.manifest, name);
    const { graceMs } = this.#options.policy.answers.UNAUTHORIZED_CONTAINER;
    const node = new PastNode(name, { desired, graceMs, commit: simulatedCommit, ...(told && { told }) });
    node.heardMs = this.#nowMs;
    node.clockMs = this.#nowMs;
    this.nodes.set(name, node);
    await this.follows(node, null);
    return node;
  }

  /** What the node really followed from here on: by that its configurations were judged. */
  async follows(node: PastNode, commit: string | null): Promise<void> {
    const desired = compileDesired(this.#options.manifest, node.name);
    node.followed(await this.#options.ground.unjudged(node.name, desired, commit));
  }

  /** The node adopts the manifest. @param atMs by its own clock. */
  adopt(node: PastNode, atMs: number): void {
    node.adopt(atMs);
    this.#adoptions.push({ node: node.name, atMs, seenMs: this.#nowMs });
    const { settling_time_ms } = this.#options.policy.governance;
    this.#watchedUntilMs = this.#nowMs + settling_time_ms + limits.clockSuspectMs;
  }

  /** Everything that is due until then happens. */
  async advance(untilMs: number): Promise<void> {
    for (let due = this.#looks.next(untilMs); due !== undefined; due = this.#looks.next(untilMs)) {
      this.#nowMs = Math.max(this.#nowMs, due.dueMs);
      const node = this.nodes.get(due.node);
      if (node === undefined) continue;
      // Nobody decides for a node that is not there; it is looked at when it is heard again.
      if (this.#nowMs - node.heardMs >= limits.backtestSilenceMs) this.#missed.add(node.name);
      else await this.#look(node);
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** An entry is received. @returns whether its author was waited for. */
  heard(index: number, node: PastNode | undefined, atMs: number): boolean {
    this.#index = index;
    if (node === undefined) return false;
    node.heardMs = this.#nowMs;
    node.clockMs = atMs;
    return this.#missed.delete(node.name);
  }

  /**
   * Judges nodes, and looks at those for which something is different.
   * @param judged what each is judged for.
   * @param looked nodes to be looked at in any case.
   * @param named containers, on whatever node, that something was heard of.
   */
  async settle(
    judged: ReadonlyMap<PastNode, Occasion>,
    looked: Iterable<PastNode> = [],
    named: ReadonlySet<string> = new Set(),
  ): Promise<void> {
    const due = new Set(looked);
    for (const [node, occasion] of judged) if (this.#judge(node, occasion)) due.add(node);
    this.#suspect();
    this.#hearReplicas(named);
    for (const node of due) await this.#look(node);
  }

  /**
   * A collector asks every few seconds whether another replica works; here that is asked when something was heard of one, at the
   * next of these moments.
   */
  #hearReplicas(named: ReadonlySet<string>): void {
    for (const [node, { sinceMs, names }] of this.#lastReplicas) {
      if (![...names].some((name) => named.has(name))) continue;
      const rounds = Math.ceil((this.#nowMs - sinceMs) / limits.enforcementLookMs);
      this.#looks.planBy(node, sinceMs + Math.max(1, rounds) * limits.enforcementLookMs);
    }
  }

  #judge(node: PastNode, occasion: Occasion): boolean {
    const { account } = this.#options;
    const { opened, altered, ended, changed } = node.judge(occasion);
    if (this.#nowMs < this.#watchedUntilMs) {
      const changedAtMs = occasion.atMs;
      this.#early.push(...altered.map((open) => ({ ...suspect(open), changedAtMs })));
    }
    for (const open of ended) account.over(open);
    for (const open of opened) {
      account.opened(open);
      const { kind, container } = open.drift;
      this.book.cameBack(node.name, { kind, container }, { index: open.openedIndex, atMs: this.#nowMs });
      if (this.#nowMs < this.#watchedUntilMs) this.#early.push(suspect(open));
    }
    return changed;
  }

  #suspect(): void {
    const { policy, account } = this.#options;
    if (this.#suspected || policy.mode === 'audit' || this.#nowMs >= this.#watchedUntilMs) return;
    const standing = [...this.nodes.values()].flatMap(({ drifts }) => drifts.map(suspect));
    const suspicion = suspicionOf(this.#rollout(), [...this.#early, ...standing]);
    if (suspicion === undefined) return;
    this.#suspected = true;
    const { alert } = freezeStatements(simulatedCommit, suspicion);
    account.alert(this.#nowMs, alert.body);
  }

  #rollout() {
    const { policy, began } = this.#options;
    const { settling_time_ms: settlingMs, freeze_nodes: freezeNodes } = policy.governance;
    return {
      ...{ commit: simulatedCommit, adoptedAtMs: began.nowMs, settlingMs, freezeNodes },
      newlyAnswered: this.#newlyAnswered,
      adoptions: this.#adoptions,
    };
  }

  async #look(node: PastNode): Promise<void> {
    const { account } = this.#options;
    this.#lastReplicas.delete(node.name);
    if (!node.active || node.adoptedMs === undefined) return this.#looks.plan(node.name, undefined);
    for (;;) {
      const { orders, held } = await this.#plan(node, node.adoptedMs);
      account.holds(node.name, held, this.#nowMs);
      if (orders.length === 0) return this.#lookAgain(node, held);
      for (const order of orders) this.#order(node, order);
      // What an order changes is so from then on, and not since the node was heard last.
      const atMs = node.clockMs + Math.max(0, this.#nowMs - node.heardMs);
      this.#judge(node, { index: this.#index, atMs, nowMs: this.#nowMs });
    }
  }

  #lookAgain(node: PastNode, held: readonly HeldDrift[]): void {
    const byReplica = held.filter(({ code }) => code === 'last_replica');
    if (byReplica.length > 0) {
      const names = new Set(byReplica.map(({ drift }) => drift.drift.container));
      this.#lastReplicas.set(node.name, { sinceMs: this.#nowMs, names });
    }
    const times = held.flatMap(({ code, untilMs }) => (code === 'last_replica' ? [] : (untilMs ?? [])));
    const nextMs = Math.min(...times);
    this.#looks.plan(node.name, times.length === 0 ? undefined : Math.max(nextMs, this.#nowMs + 1));
  }

  #order(node: PastNode, order: PlannedOrder): void {
    const index = this.#index + 1;
    const hash = this.book.issue(order, index);
    const answered = node.drifts.find(({ drift }) => drift.id === order.drift?.id);
    if (answered !== undefined) this.#options.account.ordered(order, answered);
    if (order.approvals > 0) return;
    node.carryOut(order);
    this.#hearReplicas(new Set([order.container]));
    this.book.carriedOut(hash, index, this.#nowMs);
  }

  /** As a round of the collector does: from what is mostly enough, and more where an order depends on it. */
  async #plan(node: PastNode, adoptedMs: number): Promise<Plan> {
    const { policy, announcements: announced, released } = this.#options;
    const [nowMs, name, { drifts, seenMs, earlier }] = [this.#nowMs, node.name, node];
    const announcements = await announced.inForce(this.announced, nowMs);
    const known = {
      node: { node: name, adopted: { commit: simulatedCommit, atMs: adoptedMs }, containers: node.containerCount },
      manifest: { commit: simulatedCommit, policy, wanted: () => undefined },
      ...{ drifts, seenMs, earlier, announcements, nowMs },
      frozen: this.#suspected && !released,
      silences: [...this.silences.values()],
      imageIds: imageIdsOf(node, announcements),
      settled: settledAt(this.#rollout(), name),
    };
    for (let depth = shallow; ; ) {
      const sinceMs = nowMs - historyMs({ policy }, depth);
      const orders = this.book.of(name, sinceMs, nowMs);
      const planned = plan({ ...known, orders, replicas: this.#replicas(name, depth.containers) });
      const deeper = deeperThan(depth, { drifts, plan: planned, sinceMs });
      if (deeper === undefined) return planned;
      depth = deeper;
    }
  }

  #replicas(node: string, names: ReadonlySet<string>): Situation['replicas'] {
    const active = [...this.nodes.values()].filter((node) => node.active);
    const read = [...names].map((name) => {
      const all = active.flatMap((one) => one.replicas(name));
      const requested = this.book.requested(name, this.#nowMs);
      return [name, replicasLeft({ all, requested }, node)] as const;
    });
    return new Map(read);
  }
}

/** As the planner of a collector reads it of one that stands. */
function suspect({ node, drift: { kind, differences }, openedAtMs }: OpenDrift): SuspectDrift {
  return { node, kind, openedAtMs, answerable: !onlyMountedFiles(differences) };
}

/** Only what announcements ask for. */
function imageIdsOf(node: PastNode, announcements: Situation['announcements']): Situation['imageIds'] {
  const named = new Set(announcements.map(({ container }) => container));
  const asked = node.drifts.flatMap(({ drift }) => (named.has(drift.container) ? (drift.containerId ?? []) : []));
  const found = asked.flatMap((id) => {
    const imageId = node.imageId(id);
    return imageId === undefined ? [] : [[id, imageId] as const];
  });
  return new Map(found);
}
