import { type ClockBefore, type EndedClock, type GraceClocks, graceClocks } from '../../common/enforcement/grace.ts';
import { limits } from '../../common/limits.ts';
import type { PlanningStore } from './desk-ports.ts';
import type { EndedDriftRow, OpenDrift } from './ports.ts';
import type { EarlierClock, ManifestInForce } from './situation.ts';

type Clock = EarlierClock & EndedClock;

interface ClocksOf {
  readonly node: string;
  /** All that stand on the node. */
  readonly drifts: readonly OpenDrift[];
  readonly manifest: Pick<ManifestInForce, 'policy' | 'wantedImages'>;
  /** Unix milliseconds by the collector's clock. */
  readonly nowMs: number;
}

/**
 * What a collector remembers of one node from look to look: what the clocks of unauthorized containers' drifts go on from, and when
 * it first saw each drift. It follows what the node says as the node itself does, so a clock reaches back further than could be
 * read at once. One that begins takes what can be read, and the node's word.
 */
export class NodeClocks {
  readonly #over: GraceClocks<Clock> = graceClocks();
  /** Of unauthorized containers' drifts that stand, by the index that opened them. */
  readonly #standing = new Map<number, EarlierClock>();
  readonly #seenMs = new Map<number, number>();
  /** Index of the entry that ended the last drift that was read. */
  #readTo = -1;

  /** When each drift was first seen here, by the collector's clock and the index that opened it. */
  get seenMs(): ReadonlyMap<number, number> {
    return this.#seenMs;
  }

  /**
   * Reads what has ended since the last time, and nothing where no grace period could be dodged. One call at a time.
   * @returns by the drift's id; only those that go on from another.
   */
  async look(store: Pick<PlanningStore, 'endedDrifts'>, at: ClocksOf): Promise<ReadonlyMap<string, EarlierClock>> {
    const earlier = await this.#earlier(store, at);
    this.#note(at.drifts, at.nowMs);
    return earlier;
  }

  async #earlier(
    store: Pick<PlanningStore, 'endedDrifts'>,
    { node, drifts, manifest, nowMs }: ClocksOf,
  ): Promise<ReadonlyMap<string, EarlierClock>> {
    const { graceMs } = manifest.policy.answers.UNAUTHORIZED_CONTAINER;
    const young = drifts.filter(
      ({ drift, openedAtMs }) => drift.kind === 'UNAUTHORIZED_CONTAINER' && nowMs - openedAtMs < graceMs + maxBehindMs,
    );
    if (graceMs === 0 || young.length === 0) return new Map();
    // A chain in which every link follows within the grace period, and that reaches back for longer than one, has a link in here.
    const sinceMs = young.reduce((oldestMs, { openedAtMs }) => Math.min(oldestMs, openedAtMs), nowMs) - 2 * graceMs;
    const ended = await store.endedDrifts(node, { sinceMs, afterIndex: this.#readTo });
    const before = this.#over.by({ graceMs, wantedImages: manifest.wantedImages?.(node) ?? [] });
    this.#follow(young, ended, before);
    const stand = new Set(drifts.map(({ openedIndex }) => openedIndex));
    for (const index of this.#standing.keys()) if (!stand.has(index)) this.#standing.delete(index);
    this.#over.forget(sinceMs);
    const found = young.flatMap(({ drift: { id }, openedIndex }) => {
      const clock = this.#standing.get(openedIndex);
      return clock === undefined || clock.openedIndex === openedIndex ? [] : [[id, clock] as const];
    });
    return new Map(found);
  }

  /** In the order in which it happened: a drift goes on from those that had ended when it opened, and hands that on when it ends. */
  #follow(young: readonly OpenDrift[], ended: readonly EndedDriftRow[], before: ClockBefore<Clock>): void {
    const opens = [...young, ...ended].map((one) => ({ one, atMs: one.openedAtMs, end: undefined }));
    // What one look of the node finds is said together, and what has opened first.
    const ends = ended.map((one) => {
      return { one, atMs: Math.max(one.openedAtMs, one.endedMs - limits.saidTogetherMs), end: one };
    });
    const moments = [...opens, ...ends].sort((a, b) => a.atMs - b.atMs || a.one.openedIndex - b.one.openedIndex);
    for (const { one, end } of moments) {
      if (end === undefined) this.#opened(one, before);
      else this.#ended(end);
    }
  }

  /** Looked at again while it is young: what ended in the same look of the node may have come a moment later. */
  #opened({ drift, openedAtMs, openedIndex }: OpenDrift, before: ClockBefore<Clock>): void {
    const known = this.#standing.get(openedIndex) ?? { sinceMs: openedAtMs, openedIndex };
    const clock = before(drift, openedAtMs);
    const { sinceMs, openedIndex: first } = clock !== undefined && clock.sinceMs < known.sinceMs ? clock : known;
    this.#standing.set(openedIndex, { sinceMs, openedIndex: first });
  }

  #ended({ drift, openedAtMs, openedIndex, endedMs, endedIndex }: EndedDriftRow): void {
    const clock = this.#standing.get(openedIndex) ?? { sinceMs: openedAtMs, openedIndex };
    this.#standing.delete(openedIndex);
    this.#over.add(drift, { ...clock, endedMs });
    this.#readTo = Math.max(this.#readTo, endedIndex);
  }

  /** Of drifts that are over, only those are remembered, and no more than fit, with which another one's clock began. */
  #note(drifts: readonly OpenDrift[], nowMs: number): void {
    const stand = new Set(drifts.map(({ openedIndex }) => openedIndex));
    for (const index of stand) if (!this.#seenMs.has(index)) this.#seenMs.set(index, nowMs);
    if (this.#seenMs.size === stand.size) return;
    const over = [...this.#over.kept(), ...this.#standing.values()];
    const begun = new Set(over.map(({ openedIndex }) => openedIndex));
    // The map tells them in the order in which they were seen.
    const others = [...this.#seenMs.keys()].filter((index) => !stand.has(index));
    const kept = new Set(others.filter((index) => begun.has(index)).slice(0, limits.maxEndedDrifts));
    for (const index of others) if (!kept.has(index)) this.#seenMs.delete(index);
  }
}

/** How far a drift may be told behind the collector's clock and still be looked at. */
const maxBehindMs = 60_000;
