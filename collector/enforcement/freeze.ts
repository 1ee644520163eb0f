import { type DriftKind, driftKinds } from '../../common/drift-kind.ts';
import type { EnforcementPolicy } from '../../common/enforcement/policy.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { AlertKey } from '../alerts/catalog.ts';

/** A node that has adopted the commit. */
export interface Adoption {
  readonly node: string;
  /** When, by the node's clock in Unix milliseconds. */
  readonly atMs: number;
  /** When the collector learnt of it, by its own clock. */
  readonly seenMs: number;
}

/** A commit on its way through the fleet. */
export interface Rollout {
  readonly commit: string;
  /** When the collector adopted it, Unix milliseconds. */
  readonly adoptedAtMs: number;
  readonly settlingMs: number;
  /** So many nodes that drift alike make the commit suspect. */
  readonly freezeNodes: number;
  /** Kinds of drift that the rules answer with an action now, and did not before. */
  readonly newlyAnswered: readonly DriftKind[];
  readonly adoptions: readonly Adoption[];
}

/** Until when nothing, or not everything, is ordered by a commit because nodes are settling on it. Unix milliseconds. */
export interface Settled {
  /** Before this nothing is ordered by it anywhere. */
  readonly fleetMs: number;
  /** Before this nothing is ordered on the one node because of drifts that it opened by it. */
  readonly ownMs: number;
}

/** Which nodes drift alike right after they have adopted a commit. */
export interface Suspicion {
  readonly drift: DriftKind;
  /** Sorted by name. */
  readonly nodes: readonly string[];
}

/** A drift that may speak against the commit in force. All times are by its node's clock, Unix milliseconds. */
export interface SuspectDrift {
  readonly node: string;
  readonly kind: DriftKind;
  readonly openedAtMs: number;
  /** When the node said last that it is another one now; undefined while it never has, or by another commit. */
  readonly changedAtMs?: number | undefined;
  /** Whether it stands, and a rule could answer it with an action. */
  readonly answerable?: boolean;
}

/** Kinds of drift that a manifest answers with an action; nothing in `audit` mode. */
export function answeredKinds({ mode, answers }: Pick<EnforcementPolicy, 'mode' | 'answers'>): readonly DriftKind[] {
  return mode === 'audit' ? [] : driftKinds.filter((kind) => answers[kind].action !== undefined);
}

/** What a manifest was known by that was in force before. */
export interface EarlierManifest {
  readonly commit: string;
  /** As {@link answeredKinds}. */
  readonly answered: readonly DriftKind[];
}

/**
 * Kinds that are answered now, and were not by the last commit in force that is not suspected itself: what a frozen one would
 * have begun has not begun yet. None when no such commit is known.
 * @param earlier newest first.
 */
export function newlyAnswered(
  policy: Pick<EnforcementPolicy, 'mode' | 'answers'>,
  earlier: readonly EarlierManifest[],
  isFrozen: (commit: string) => boolean,
): readonly DriftKind[] {
  const before = earlier.find(({ commit }) => !isFrozen(commit));
  return before === undefined ? [] : answeredKinds(policy).filter((kind) => !before.answered.includes(kind));
}

/**
 * A moment that a node has told, by the collector's clock. How far the two are apart is not known: the later of both counts, so
 * that nothing happens too early by either. But a collector that has just started has seen nothing before, and a clock that
 * is wrong by more than `limits.clockSuspectMs` is a fault of its own.
 */
export function laterOf(toldMs: number, seenMs: number): number {
  return Math.max(toldMs, Math.min(seenMs, toldMs + limits.clockSuspectMs));
}

/**
 * How long nodes settle on a commit: since one that is bad shows on several nodes, which do not adopt it in the same second,
 * all of a rollout wait for its last one. A node that comes later than `limits.rolloutSpreadMs` waits alone, so that none
 * that comes and goes can hold up all the others for ever.
 */
export function settledAt({ adoptedAtMs, settlingMs, adoptions }: Rollout, node: string): Settled {
  if (settlingMs === 0) return { fleetMs: 0, ownMs: 0 };
  const times = adoptions.map((adoption) => ({ node: adoption.node, ms: laterOf(adoption.atMs, adoption.seenMs) }));
  const fleet = times.filter(({ ms }) => ms <= adoptedAtMs + limits.rolloutSpreadMs).map(({ ms }) => ms);
  const own = times.filter((time) => time.node === node).map(({ ms }) => ms);
  return { fleetMs: Math.max(adoptedAtMs, ...fleet) + settlingMs, ownMs: Math.max(0, ...own) + settlingMs };
}

/**
 * Whether a commit is to be suspected: on enough nodes drifts of one kind come from it. That are those that were opened or changed
 * while the node was settling on it, and those that stood before and that its rules answer with an action while those before did
 * not: a changed rule alone can make many nodes be acted on. All times of a node are by its own clock, so that no difference
 * between clocks matters, nor how late the entries came.
 * @param drifts that were judged by the commit last, standing or not; and those that stand and that it has left as they were.
 */
export function suspicionOf(rollout: Rollout, drifts: readonly SuspectDrift[]): Suspicion | undefined {
  const adopted = new Map(rollout.adoptions.map(({ node, atMs }) => [node, atMs]));
  const early = drifts.filter((drift) => {
    const atMs = adopted.get(drift.node);
    return atMs !== undefined && comesFrom(drift, atMs, rollout);
  });
  const alike = driftKinds.map((drift) => {
    const nodes = new Set(early.filter(({ kind }) => kind === drift).map(({ node }) => node));
    return { drift, nodes: [...nodes].sort() };
  });
  const [worst] = alike.sort((a, b) => b.nodes.length - a.nodes.length);
  return worst !== undefined && worst.nodes.length >= rollout.freezeNodes ? worst : undefined;
}

function comesFrom(
  { kind, openedAtMs, changedAtMs, answerable }: SuspectDrift,
  adoptedMs: number,
  { settlingMs, newlyAnswered: answered }: Rollout,
): boolean {
  const isEarly = (atMs: number) => atMs >= adoptedMs && atMs < adoptedMs + settlingMs;
  if (isEarly(openedAtMs) || (changedAtMs !== undefined && isEarly(changedAtMs))) return true;
  // Where nothing is watched, nothing is suspected.
  return settlingMs > 0 && openedAtMs < adoptedMs && answerable === true && answered.includes(kind);
}

/** Of the alert that a commit is frozen; its release ends it. */
export function frozenAlertKey(commit: string): AlertKey {
  return `enforcement.frozen/${commit}`;
}

/** What is put on record of a suspicion: the alert that somebody has to look, and the freeze itself. */
export function freezeStatements(commit: string, { drift, nodes }: Suspicion) {
  const named = nodes.slice(0, limits.maxFrozenNodesNamed);
  const reason = `on ${nodes.length} nodes ${drift} began, changed, or became something to act on when they adopted this commit`;
  const shown = [...named.slice(0, 10), ...(nodes.length > 10 ? ['...'] : [])].join(', ');
  const alert: Statement = {
    kind: 'alert.raised',
    body: {
      key: frozenAlertKey(commit),
      severity: 'critical',
      summary: `${reason} (${shown}): nothing is ordered by ${commit} until somebody has looked and released it`,
      node: null,
    },
  };
  const frozen: Statement = { kind: 'enforcement.frozen', body: { commit, drift, nodes: named, reason } };
  return { alert, frozen };
}
