import type { DesiredState } from '../../common/desired.ts';
import { type Drift, diff, driftChanges, type ObservedState, undecided } from '../../common/drift.ts';
import { runs } from '../../common/enforcement/governance.ts';
import { clip } from '../../common/fields.ts';
import type { Body } from '../../common/kinds.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { Order } from '../../common/order.ts';
import { standstill } from '../../common/standing.ts';
import type { EndedDriftRow, OpenDrift, Replica } from '../enforcement/ports.ts';
import type { Situation } from '../enforcement/situation.ts';
import type { Unjudged } from './config-ground.ts';
import { PastHandiwork } from './handiwork.ts';
import { PastClocks } from './past-clocks.ts';

/** What a node is judged anew for. */
export interface Occasion {
  /** Of the entry. */
  readonly index: number;
  /** By the node's clock, Unix milliseconds. */
  readonly atMs: number;
  /** By the collector's. */
  readonly nowMs: number;
}

export interface Judged {
  readonly opened: readonly OpenDrift[];
  /** Those that are not what they were, as they stand now. */
  readonly altered: readonly OpenDrift[];
  /** As they stood. */
  readonly ended: readonly OpenDrift[];
  /** Whether anything is different from before. */
  readonly changed: boolean;
}

/** A configuration that could not be judged, since the first entry for which that was so. */
export interface UnjudgedConfig {
  readonly reason: string;
  readonly index: number;
}

export interface PastNodeOptions {
  readonly desired: DesiredState;
  /** Of unauthorized containers. */
  readonly graceMs: number;
  readonly commit: string;
  readonly told?: ToldBefore;
}

/** What a node has told before the period. */
export interface ToldBefore {
  readonly containers: readonly ObservedContainer[];
  readonly drifts: readonly OpenDrift[];
  /** Of unauthorized containers, those whose clocks something may still go on with. */
  readonly ended: readonly EndedDriftRow[];
}

const nothing: Judged = { opened: [], altered: [], ended: [], changed: false };

/**
 * A node of the past under another manifest: what was really observed of it, less what the orders of that manifest would have
 * changed, compared with what the manifest wants.
 */
export class PastNode {
  readonly name: string;
  readonly #desired: DesiredState;
  readonly #commit: string;
  /** As last observed, by id. */
  readonly #containers: Map<string, ObservedContainer>;
  /** How containers are made is not observed: the drifts that the node itself found, by id. */
  readonly #configDrifts = new Map<string, Drift>();
  #unjudged: Unjudged = new Map();
  readonly handiwork = new PastHandiwork();
  /** Ids that a simulated order has terminated; what the past says of them counts no more. */
  readonly #gone = new Set<string>();
  /** Names that a simulated order has put right, with the ids that were seen under each then. */
  readonly #mended = new Map<string, ReadonlySet<string>>();
  readonly #open = new Map<string, OpenDrift>();
  readonly #seenMs = new Map<number, number>();
  readonly #clocks: PastClocks;
  #standstills = '';
  #stale = true;

  readonly unjudged = new Map<string, UnjudgedConfig>();
  /** Whether the key of the node is in force. */
  active = true;
  /** False from when its account begins anew until it has reported on all of it. */
  complete: boolean;
  /** Whether the node could not look at some containers. */
  unobserved = false;
  /** Since when it follows the manifest, by its own clock. */
  adoptedMs: number | undefined;
  /** When its last entry was received, and made, by the collector's clock and its own. */
  heardMs = 0;
  clockMs = 0;

  constructor(name: string, { desired, graceMs, commit, told }: PastNodeOptions) {
    this.name = name;
    this.#desired = desired;
    this.#commit = commit;
    this.#clocks = new PastClocks({ graceMs, wantedImages: desired.containers.map(({ image }) => image) });
    this.complete = told !== undefined;
    this.#containers = new Map(told?.containers.map((container) => [container.id, container]));
    for (const open of told?.drifts ?? []) {
      if (open.drift.kind === 'CONFIG_DRIFT') this.#configDrifts.set(open.drift.id, open.drift);
      this.#open.set(open.drift.id, open);
    }
    this.#clocks.takeUp(told?.drifts ?? [], told?.ended ?? []);
    for (const { openedIndex, openedAtMs } of [...(told?.ended ?? []), ...(told?.drifts ?? [])]) {
      this.#seenMs.set(openedIndex, openedAtMs);
    }
    this.#forgetSeen();
  }

  get drifts(): readonly OpenDrift[] {
    return [...this.#open.values()];
  }

  /** When the collector first saw each of them. */
  get seenMs(): ReadonlyMap<number, number> {
    return this.#seenMs;
  }

  /** What their clocks go on from, by id. */
  get earlier(): Situation['earlier'] {
    return this.#clocks.earlier;
  }

  /** What runs, and what orders would have made that does not. */
  get containerCount(): number {
    const there = [...this.#containers.values()].filter(
      (container) => !this.#gone.has(container.id) && runs(container),
    );
    const names = new Set(this.#mended.size === 0 ? [] : there.map(({ name }) => clip(name)));
    return there.length + [...this.#mended.keys()].filter((name) => !names.has(name)).length;
  }

  imageId(containerId: string): string | undefined {
    return this.#containers.get(containerId)?.imageId;
  }

  /** What is seen under a name here; one that was put right runs. */
  replicas(name: string): readonly Replica[] {
    if (this.#mended.has(name)) return [{ node: this.name, state: 'running', health: 'none' }];
    const its = [...this.#containers.values()].filter((seen) => clip(seen.name) === name && !this.#gone.has(seen.id));
    return its.map(({ state, health }) => ({ node: this.name, state, health }));
  }

  /** @returns the names of containers that it speaks of. */
  observe({ baseline, upserted, removed }: Body<'observed'>): readonly string[] {
    this.#stale = true;
    if (baseline) this.#beginAnew();
    const left = removed.flatMap((id) => this.#containers.get(id)?.name ?? []);
    for (const id of removed) {
      this.#containers.delete(id);
      this.#gone.delete(id);
    }
    for (const container of upserted) this.#containers.set(container.id, container);
    return [...left, ...upserted.map(({ name }) => name)];
  }

  /** Nothing that was told before holds any more; the node opens its drifts anew. */
  #beginAnew(): void {
    this.complete = false;
    this.#containers.clear();
    this.#configDrifts.clear();
    this.#open.clear();
    this.#clocks.beginAnew();
    this.#seenMs.clear();
  }

  /** The node's own word on how a container is made; of other drifts it has none here. */
  foundConfigDrift(drift: Drift): void {
    if (drift.kind !== 'CONFIG_DRIFT') return;
    this.#stale = true;
    this.#configDrifts.set(drift.id, drift);
  }

  resolvedDrift(id: string): void {
    if (this.#configDrifts.delete(id)) this.#stale = true;
  }

  /** @param unjudged of the commit that the node really follows from now on. */
  followed(unjudged: Unjudged): void {
    this.#stale = true;
    this.#unjudged = unjudged;
  }

  /** The node follows the manifest from now on. Of configurations, what it has told says nothing where they cannot be judged. */
  adopt(atMs: number): void {
    this.#stale = true;
    this.adoptedMs = atMs;
    for (const [id, { drift }] of this.#open) {
      if (drift.kind === 'CONFIG_DRIFT' && this.#unjudged.has(drift.container)) this.#open.delete(id);
    }
  }

  /** Something that was under way has ended, or begun. */
  touch(): void {
    this.#stale = true;
  }

  /** What an order that is obeyed leaves. A container in quarantine is still there. */
  carryOut({ action, container, containerId }: Pick<Order, 'action' | 'container' | 'containerId'>): void {
    this.#stale = true;
    if (action === 'terminate' && containerId !== null) this.#gone.add(containerId);
    if (action !== 'restore' && action !== 'rollback') return;
    const its = [...this.#containers.values()].filter(({ name }) => clip(name) === container);
    this.#mended.set(container, new Set(its.map(({ id }) => id)));
  }

  /** Compares anew, as the node does after each look. */
  judge(at: Occasion): Judged {
    if (!this.complete || this.adoptedMs === undefined) return nothing;
    const standstills = [...this.#containers.values()].map((container) => standstill(container, at.atMs) ?? '').join();
    if (!this.#stale && standstills === this.#standstills) return nothing;
    this.#stale = false;
    this.#standstills = standstills;
    const seen = this.#seen(at.atMs);
    this.#noteUnjudged(seen, at.index);
    const standing = this.#standing(seen, at.nowMs);
    const told = new Map([...this.#open].map(([id, { drift }]) => [id, drift]));
    const held = new Set([...told.values()].filter((drift) => this.#isHeld(drift, seen, at.nowMs)).map(({ id }) => id));
    return this.#take(driftChanges(told, standing, held), at);
  }

  /** What would be seen: what was, without what would be gone, and what the past's own orders have put aside. */
  #seen(atMs: number): ObservedState {
    const there = [...this.#containers].filter(
      ([id, container]) => !this.#gone.has(id) && !this.handiwork.isPutAside(container),
    );
    // Which one that was is not on record.
    const unobserved = new Map(this.unobserved ? [['a container that could not be inspected', null]] : []);
    return { containers: new Map(there), unobserved, atMs, made: new Map() };
  }

  #noteUnjudged({ containers }: ObservedState, index: number): void {
    if (this.#unjudged.size === 0) return;
    for (const { name } of containers.values()) {
      const reason = this.#unjudged.get(name);
      if (reason !== undefined && !this.unjudged.has(name)) this.unjudged.set(name, { reason, index });
    }
  }

  #standing(seen: ObservedState, nowMs: number): readonly Drift[] {
    const all = [...diff(this.#desired, seen), ...this.#configStanding(seen)];
    const byName = new Map([...seen.containers.values()].map(({ id, name }) => [clip(name), id]));
    const troubled = new Set(
      all.flatMap(({ kind, container }) => (kind === 'UNAUTHORIZED_CONTAINER' ? [] : [container])),
    );
    // Where the past has put it right itself, or has another container there, its account goes on from that.
    for (const [name, ids] of this.#mended) {
      const id = byName.get(name);
      if (!troubled.has(name) || (id !== undefined && !ids.has(id))) this.#mended.delete(name);
    }
    return all.filter(
      ({ kind, container }) =>
        !this.handiwork.isInHand(container, nowMs) &&
        (kind === 'UNAUTHORIZED_CONTAINER' || !this.#mended.has(container)),
    );
  }

  #configStanding({ containers }: ObservedState): readonly Drift[] {
    if (this.#desired.ignored.has('CONFIG_DRIFT')) return [];
    const wanted = new Set(this.#desired.containers.map(({ name }) => name));
    return [...this.#configDrifts.values()].filter(({ container, containerId }) => {
      const its = containerId === null ? undefined : containers.get(containerId);
      return its !== undefined && clip(its.name) === container && wanted.has(its.name) && !this.#unjudged.has(its.name);
    });
  }

  /** Whether a drift that was told may still stand although it is not seen to. */
  #isHeld(drift: Drift, seen: ObservedState, nowMs: number): boolean {
    if (this.handiwork.isInHand(drift.container, nowMs)) return true;
    if (this.#mended.has(drift.container)) return false;
    const its = [...seen.containers.values()].find(({ name }) => clip(name) === drift.container);
    if (drift.kind !== 'CONFIG_DRIFT' || its === undefined) return undecided(drift, this.#desired, seen);
    return this.#unjudged.has(its.name);
  }

  #take({ opened, changed, resolved }: ReturnType<typeof driftChanges>, { index, atMs, nowMs }: Occasion): Judged {
    const ended = resolved.flatMap((id) => this.#open.get(id) ?? []);
    for (const id of resolved) this.#open.delete(id);
    const commit = this.#commit;
    const altered = changed.flatMap((drift) => {
      const before = this.#open.get(drift.id);
      return before === undefined ? [] : [{ ...before, drift, commit }];
    });
    for (const open of altered) this.#open.set(open.drift.id, open);
    const fresh = opened.map(
      (drift): OpenDrift => ({ node: this.name, drift, openedIndex: index, openedAtMs: atMs, commit }),
    );
    for (const open of fresh) this.#open.set(open.drift.id, open);
    if (fresh.length > 0) this.#seenMs.set(index, nowMs);
    this.#clocks.look(ended, fresh, atMs);
    this.#forgetSeen();
    return { opened: fresh, altered, ended, changed: opened.length + changed.length + resolved.length > 0 };
  }

  /** Only what stands counts, and what a clock began with. */
  #forgetSeen(): void {
    const standing = new Set([...this.#open.values()].map(({ openedIndex }) => openedIndex));
    const { begun } = this.#clocks;
    for (const known of this.#seenMs.keys()) if (!standing.has(known) && !begun.has(known)) this.#seenMs.delete(known);
  }
}
