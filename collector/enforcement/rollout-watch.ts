import { limits } from '../../common/limits.ts';
import type { Rollout } from './freeze.ts';
import type { GovernedNodeRow } from './ports.ts';
import type { ManifestInForce } from './situation.ts';

interface RolloutGround extends Pick<Rollout, 'newlyAnswered'> {
  /** All active nodes. */
  readonly rows: readonly GovernedNodeRow[];
  /** Unix milliseconds. */
  readonly nowMs: number;
}

/** Remembers when this collector learnt who follows the commit in force, and how long that has to be watched. */
export class RolloutWatch {
  #commit: string | undefined;
  #seen = new Map<string, { readonly atMs: number; readonly seenMs: number }>();
  #untilMs = Number.POSITIVE_INFINITY;

  /** Whether drifts by this commit may still make it suspect, so that they have to be counted. */
  isWatched({ commit }: ManifestInForce, nowMs: number): boolean {
    return commit !== this.#commit || nowMs < this.#untilMs;
  }

  /** Takes note of who follows the commit. */
  rolloutOf({ commit, adoptedAtMs, policy }: ManifestInForce, { rows, newlyAnswered, nowMs }: RolloutGround): Rollout {
    const before = commit === this.#commit ? this.#seen : new Map();
    const followers = rows.flatMap(({ node, adopted }) =>
      adopted?.commit === commit ? [{ node, atMs: adopted.atMs }] : [],
    );
    const adoptions = followers.map(({ node, atMs }) => {
      const known = before.get(node);
      return { node, atMs, seenMs: known?.atMs === atMs ? known.seenMs : nowMs };
    });
    const { settling_time_ms: settlingMs, freeze_nodes: freezeNodes } = policy.governance;
    this.#commit = commit;
    this.#seen = new Map(adoptions.map(({ node, atMs, seenMs }) => [node, { atMs, seenMs }]));
    // What a node finds while it settles is told within that time, or together with the adoption, which is then new here.
    this.#untilMs =
      Math.max(adoptedAtMs, ...adoptions.map(({ seenMs }) => seenMs)) + settlingMs + limits.clockSuspectMs;
    return { commit, adoptedAtMs, settlingMs, freezeNodes, newlyAnswered, adoptions };
  }
}
