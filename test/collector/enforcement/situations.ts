import { hash } from 'node:crypto';
import type { OpenDrift, OrderEventRow, OrderStatus, StoredOrder } from '../../../collector/enforcement/ports.ts';
import type { ManifestInForce, Situation } from '../../../collector/enforcement/situation.ts';
import { rfc3339 } from '../../../common/clock.ts';
import type { Drift } from '../../../common/drift.ts';
import type { DriftKind } from '../../../common/drift-kind.ts';
import { type EnforcementPolicy, enforcementPolicy } from '../../../common/enforcement/policy.ts';
import { limits } from '../../../common/limits.ts';
import { parseManifest } from '../../../common/manifest/manifest.ts';
import { driftDigest, type Order, type OrderOutcome, orderHash } from '../../../common/order.ts';

/** What enforcement is tested with: a manifest whose rules all act at once, drifts, orders, and the moment at which all is seen. */

export const nowMs = Date.UTC(2026, 4, 5, 12);
export const commit = 'c'.repeat(40);
export const node = 'node1';

/** 64 hex digits for a name. */
export const idOf = (name: string): string => hash('sha256', name, 'hex');

interface Written {
  readonly mode?: string;
  readonly graceSeconds?: number;
  readonly governance?: Readonly<Record<string, unknown>>;
  readonly rollback?: Readonly<Record<string, unknown>>;
  readonly rules?: Readonly<Record<string, { readonly action: string }>>;
  readonly windows?: readonly unknown[];
  readonly autoRollback?: boolean;
}

/** The policy of a manifest that is `active`, answers every kind of drift at once, and knows no cooldown. */
export function policyOf(written: Written = {}): EnforcementPolicy {
  const text = {
    config: {
      enforcement_mode: written.mode ?? 'active',
      grace_period_seconds: written.graceSeconds ?? 0,
      auto_rollback: written.autoRollback ?? true,
      allow_manual_overrides: true,
    },
    drift_rules: {
      unauthorized_containers: { action: 'terminate' },
      missing_containers: { action: 'recreate' },
      image_drift: { action: 'rollback' },
      config_drift: { action: 'rollback' },
      ...written.rules,
    },
    rollback: { enabled: true, retry_delay: 30, max_retries: 2, ...written.rollback },
    governance: { cooldown: 0, blast_radius: 100, settling_time: 15, ...written.governance },
    maintenance_windows: written.windows ?? [],
  };
  // YAML is a superset of JSON.
  return enforcementPolicy(parseManifest(JSON.stringify(text)));
}

const atOnce = policyOf();

export function manifestOf(written: Written = {}): ManifestInForce {
  return { commit, policy: policyOf(written), wanted: () => undefined, adoptedAtMs: nowMs - 3_600_000 };
}

/** A drift as the node would tell it. */
export function driftOf(kind: DriftKind, name: string, observed = 'running'): Drift {
  const id = kind === 'UNAUTHORIZED_CONTAINER' ? `${kind}/${idOf(name)}` : `${kind}/${name}`;
  const fields: Readonly<Record<DriftKind, Drift['differences']>> = {
    UNAUTHORIZED_CONTAINER: [
      { field: 'image', desired: null, observed: 'miner:1' },
      { field: 'state', desired: null, observed },
    ],
    MISSING_CONTAINER: [{ field: 'state', desired: 'running', observed: null }],
    IMAGE_DRIFT: [{ field: 'image', desired: 'web:1', observed: 'web:2' }],
    CONFIG_DRIFT: [{ field: 'user', desired: '1000', observed: '0' }],
  };
  const containerId = kind === 'MISSING_CONTAINER' ? null : idOf(name);
  return { id, kind, container: name, containerId, differences: fields[kind] };
}

/** One that has stood for a minute. */
export function openDrift(kind: DriftKind, name: string, others: Partial<OpenDrift> = {}): OpenDrift {
  return { node, drift: driftOf(kind, name), openedIndex: 100, openedAtMs: nowMs - 60_000, commit, ...others };
}

interface Past {
  readonly issuedMs?: number;
  readonly status?: OrderStatus;
  /** What the node said of it, when, and the word it gave for why. */
  readonly results?: readonly (readonly [OrderOutcome, atMs: number, code?: string])[];
  readonly approvedMs?: readonly number[];
  readonly others?: Partial<Order>;
}

/** An order for a drift, by default issued a second ago and not answered. */
export function storedOrder({ drift, openedIndex }: OpenDrift, past: Past = {}): StoredOrder {
  const issuedMs = past.issuedMs ?? nowMs - 1_000;
  const order: Order = {
    node,
    action: atOnce.answers[drift.kind].action ?? 'terminate',
    container: drift.container,
    containerId: drift.containerId,
    drift: { id: drift.id, kind: drift.kind, digest: driftDigest(drift) },
    commit,
    origin: 'rule',
    by: atOnce.answers[drift.kind].rule,
    reason: 'a test',
    approvals: 0,
    issuedAt: rfc3339(issuedMs),
    expiresAt: rfc3339(issuedMs + limits.orderLifetimeMs),
    nonce: hash('sha256', `${issuedMs} ${drift.id}`, 'hex').slice(0, 32),
    ...past.others,
  };
  const name = orderHash(order);
  const index = openedIndex + 1;
  const approved: OrderEventRow[] = (past.approvedMs ?? []).map((atMs, at) => ({
    ...{ index: index + 1 + at, node: 'collector', atMs },
    said: { kind: 'order.approved', body: { order: name, approval: { approver: `approver${at}`, signature: 's' } } },
  }));
  const results: OrderEventRow[] = (past.results ?? []).map(([outcome, atMs, code], at) => ({
    ...{ index: index + 10 + at, node, atMs },
    said: {
      kind: 'order.result',
      body: { order: name, outcome, code: code ?? null, reason: outcome, evidence: null, containerId: null },
    },
  }));
  const status = past.status ?? past.results?.at(-1)?.[0] ?? 'requested';
  return { hash: name, index, order, status, events: [...approved, ...results] };
}

/** A quiet moment: the fleet has settled, nothing is held up by anybody. */
export function situationOf(others: Partial<Situation> = {}): Situation {
  return {
    node: { node, adopted: { commit, atMs: nowMs - 3_000_000 }, containers: 20 },
    manifest: manifestOf(),
    drifts: [],
    orders: [],
    frozen: false,
    silences: [],
    announcements: [],
    imageIds: new Map(),
    seenMs: new Map([[100, nowMs - 60_000]]),
    settled: { fleetMs: 0, ownMs: 0 },
    replicas: new Map(),
    nowMs,
    ...others,
  };
}
