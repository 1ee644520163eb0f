import { type EndedClock, type GraceRule, graceClocks } from '../../common/enforcement/grace.ts';
import { limits } from '../../common/limits.ts';
import type { EndedDriftRow, OpenDrift } from '../enforcement/ports.ts';
import type { EarlierClock } from '../enforcement/situation.ts';

/** What the clocks of a past node's drifts go on from, as its collector would have known it. */
export class PastClocks {
  readonly #rule: GraceRule;
  readonly #over = graceClocks<EarlierClock & EndedClock>();
  /** Of drifts that stand, by id; only those that go on from another. */
  readonly #earlier = new Map<string, EarlierClock>();
  /** Drifts that stand and opened so lately that a collector takes what ends now for said together with them. */
  #fresh: readonly OpenDrift[] = [];

  constructor(rule: GraceRule) {
    this.#rule = rule;
  }

  get earlier(): ReadonlyMap<string, EarlierClock> {
    return this.#earlier;
  }

  /** Whether a clock that can be gone on with began with the drift that was opened at this index. */
  get begun(): ReadonlySet<number> {
    return new Set([...this.#over.kept(), ...this.#earlier.values()].map(({ openedIndex }) => openedIndex));
  }

  /** What the node had told before, in the order in which it happened: what stands, and what was over. */
  takeUp(standing: readonly OpenDrift[], over: readonly EndedDriftRow[]): void {
    const opens = [...standing, ...over].map((one) => ({ atMs: one.openedAtMs, opened: [one], ended: [], nth: 1 }));
    // Of one moment what ended comes first, but nothing ends before it has opened.
    const ends = over.map((one) => {
      return { atMs: one.endedMs, opened: [], ended: [one], nth: one.openedAtMs < one.endedMs ? 0 : 2 };
    });
    const moments = [...opens, ...ends].sort((a, b) => a.atMs - b.atMs || a.nth - b.nth);
    for (const { ended, opened, atMs } of moments) this.look(ended, opened, atMs);
  }

  /** One look of the node: what it found to be over, and then what it found. */
  look(ended: readonly OpenDrift[], opened: readonly OpenDrift[], atMs: number): void {
    const { graceMs } = this.#rule;
    if (graceMs === 0) return;
    for (const { drift, openedAtMs: sinceMs, openedIndex } of ended) {
      const clock = this.#earlier.get(drift.id) ?? { sinceMs, openedIndex };
      this.#earlier.delete(drift.id);
      this.#over.add(drift, { ...clock, endedMs: atMs });
    }
    const before = this.#over.by(this.#rule);
    const over = new Set(ended.map(({ drift }) => drift.id));
    const still = this.#fresh.filter((one) => !over.has(one.drift.id) && isFresh(one, atMs));
    this.#fresh = [...still, ...opened];
    for (const { drift, openedAtMs } of this.#fresh) {
      const clock = before(drift, openedAtMs);
      const known = this.#earlier.get(drift.id);
      if (clock !== undefined && clock.sinceMs < (known?.sinceMs ?? openedAtMs)) this.#earlier.set(drift.id, clock);
    }
    this.#over.forget(atMs - 2 * graceMs);
  }

  /** The node tells everything anew. */
  beginAnew(): void {
    this.#earlier.clear();
    this.#fresh = [];
  }
}

function isFresh({ openedAtMs }: OpenDrift, atMs: number): boolean {
  return atMs - openedAtMs <= limits.saidTogetherMs;
}
