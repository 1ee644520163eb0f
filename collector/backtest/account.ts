import { rfc3339 } from '../../common/clock.ts';
import type { DriftKind } from '../../common/drift-kind.ts';
import { driftKinds } from '../../common/drift-kind.ts';
import type { EnforcementPolicy } from '../../common/enforcement/policy.ts';
import { limits } from '../../common/limits.ts';
import type { OrderAction } from '../../common/order.ts';
import type { OpenDrift } from '../enforcement/ports.ts';
import type { HeldDrift, HoldCode, PlannedOrder } from '../enforcement/situation.ts';

/** An order that the rules would have given. */
export interface BacktestAction {
  readonly at: string;
  readonly node: string;
  readonly action: OrderAction;
  readonly container: string;
  readonly container_id: string | null;
  readonly drift: DriftKind;
  /** Index of the entry that the drift was seen by; null when it stands from the beginning. */
  readonly drift_index: number | null;
  readonly rule: string;
  readonly reason: string;
  /** Approvals that it would have waited for, so that nothing was done; 0 when it would have been carried out. */
  readonly waits_for_approvals: number;
}

/** A drift that the rules would have answered with nothing, or not at once: the first time for each reason. */
export interface BacktestHold {
  readonly at: string;
  readonly node: string;
  readonly container: string;
  readonly drift: DriftKind;
  readonly drift_index: number | null;
  readonly held_by: HoldCode;
  readonly reason: string;
}

export interface BacktestAlert {
  readonly at: string;
  readonly key: string;
  readonly severity: string;
  readonly summary: string;
}

/** A stretch of the period in which a node, or part of it, was not observed. */
export interface BacktestGap {
  readonly node: string;
  readonly from: string;
  readonly to: string;
  readonly reason: string;
}

export interface RuleTotals {
  readonly rule: string;
  readonly drift: DriftKind;
  /** What the rule answers with; null where it puts drift on record and no more. */
  readonly action: OrderAction | null;
  readonly drifts: number;
  readonly orders: number;
  /** Of these orders, those that would have waited for approvals. */
  readonly waiting: number;
  /** Drifts by what held them up; one may have been held by several in turn. */
  readonly held: Readonly<Partial<Record<HoldCode, number>>>;
}

interface Counts {
  drifts: number;
  orders: number;
  waiting: number;
  readonly held: Partial<Record<HoldCode, number>>;
}

/** Where the past that is replayed begins: the index before its first entry, and when, Unix milliseconds. */
export interface Began {
  readonly index: number;
  readonly nowMs: number;
}

/** Lists what happens up to a bound, and counts all of it. */
export class BacktestAccount {
  readonly #only: string | undefined;
  readonly #began: Began;
  readonly #counts = new Map<DriftKind, Counts>(
    driftKinds.map((kind) => [kind, { drifts: 0, orders: 0, waiting: 0, held: {} }]),
  );
  /** What has been told to hold up a drift that stands. */
  readonly #holds = new Map<string, Set<HoldCode>>();
  readonly actions: BacktestAction[] = [];
  readonly held: BacktestHold[] = [];
  readonly alerts: BacktestAlert[] = [];
  readonly gaps: BacktestGap[] = [];
  /** Where the last gap of a node is listed. */
  readonly #lastGap = new Map<string, number>();
  #cut = false;

  /** @param only the one node that is told about; undefined for all. */
  constructor(only: string | undefined, began: Began) {
    this.#only = only;
    this.#began = began;
  }

  /** Whether there was more than is listed. */
  get cut(): boolean {
    return this.#cut;
  }

  opened({ node, drift }: OpenDrift): void {
    if (!this.#isTold(node)) return;
    const counts = this.#counts.get(drift.kind);
    if (counts !== undefined) counts.drifts += 1;
  }

  ordered(order: PlannedOrder, open: OpenDrift): void {
    const { kind } = open.drift;
    if (!this.#isTold(order.node)) return;
    const counts = this.#counts.get(kind);
    if (counts !== undefined) {
      counts.orders += 1;
      if (order.approvals > 0) counts.waiting += 1;
    }
    const { node, action, container, containerId, by, reason, approvals, issuedAt } = order;
    this.#list(this.actions, {
      ...{ at: issuedAt, node, action, container, container_id: containerId, drift: kind },
      ...{ drift_index: this.#indexOf(open), rule: by, reason, waits_for_approvals: approvals },
    });
  }

  /** @param held all that are held on the node now; what held the others is over. */
  holds(node: string, held: readonly HeldDrift[], nowMs: number): void {
    if (!this.#isTold(node)) return;
    for (const { drift: open, code, reason } of held) {
      const { drift, openedIndex } = open;
      const name = `${node} ${openedIndex} ${drift.id}`;
      const known = this.#holds.get(name) ?? new Set();
      if (known.has(code)) continue;
      this.#holds.set(name, known.add(code));
      const counts = this.#counts.get(drift.kind);
      if (counts !== undefined) counts.held[code] = (counts.held[code] ?? 0) + 1;
      if (passing.has(code)) continue;
      const { kind, container } = drift;
      const drift_index = this.#indexOf(open);
      const place = { at: rfc3339(nowMs), node, container, drift: kind, drift_index };
      this.#list(this.held, { ...place, held_by: code, reason });
    }
  }

  /** The drift does not stand any more, or not as it did. */
  over({ node, drift, openedIndex }: OpenDrift): void {
    this.#holds.delete(`${node} ${openedIndex} ${drift.id}`);
  }

  alert(nowMs: number, { key, severity, summary }: Omit<BacktestAlert, 'at'>): void {
    this.alerts.push({ at: rfc3339(nowMs), key, severity, summary });
  }

  /** A gap that goes on from the last one of the node, for the same reason, is the same. Unix milliseconds. */
  gap(node: string, { fromMs, toMs, reason }: { fromMs: number; toMs: number; reason: string }): void {
    if (!this.#isTold(node) || toMs <= fromMs) return;
    const at = this.#lastGap.get(node) ?? this.gaps.length;
    const last = this.gaps[at];
    if (last !== undefined && last.reason === reason && Date.parse(last.to) >= fromMs) {
      const to = rfc3339(Math.max(Date.parse(last.to), toMs));
      this.gaps[at] = { ...last, to };
      return;
    }
    this.#lastGap.set(node, this.gaps.length);
    this.#list(this.gaps, { node, from: rfc3339(fromMs), to: rfc3339(toMs), reason });
  }

  totals({ answers }: EnforcementPolicy): readonly RuleTotals[] {
    return [...this.#counts].map(([drift, counts]) => {
      const { rule, action = null } = answers[drift];
      return { rule, drift, action, ...counts };
    });
  }

  #indexOf({ openedIndex, openedAtMs }: OpenDrift): number | null {
    return openedIndex === this.#began.index && openedAtMs === this.#began.nowMs ? null : openedIndex;
  }

  #isTold(node: string): boolean {
    return this.#only === undefined || this.#only === node;
  }

  #list<T>(list: T[], row: T): void {
    if (list.length < limits.maxBacktestListed) list.push(row);
    else this.#cut = true;
  }
}

/** What holds everything up for a while is counted and not listed. */
const passing: ReadonlySet<HoldCode> = new Set<HoldCode>([
  ...(['commit', 'settling', 'grace', 'starting', 'pending', 'verifying', 'covered'] as const),
]);
