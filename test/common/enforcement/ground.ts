import type { Drift } from '../../../common/drift.ts';
import type { Circumstances } from '../../../common/enforcement/permission.ts';
import { enforcementPolicy } from '../../../common/enforcement/policy.ts';
import { parseManifest } from '../../../common/manifest/manifest.ts';
import { driftDigest, type Order } from '../../../common/order.ts';

export const nowMs = Date.parse('2026-03-04T12:00:00.000Z');
export const commit = 'c'.repeat(40);
export const targetId = 'a'.repeat(64);

/** A manifest with what is said on top of one that acts on everything at once. */
export function policyOf(said = '') {
  return enforcementPolicy(parseManifest(`${actsAtOnce}${said}`));
}

const actsAtOnce = `
config: {enforcement_mode: active, auto_rollback: true, grace_period_seconds: 0, allow_manual_overrides: true}
rollback: {enabled: true}
drift_rules:
  unauthorized_containers: {action: terminate}
  missing_containers: {action: recreate}
  image_drift: {action: rollback}
  config_drift: {action: rollback}
`;

export const rogue: Drift = {
  id: `UNAUTHORIZED_CONTAINER/${targetId}`,
  kind: 'UNAUTHORIZED_CONTAINER',
  container: 'rogue',
  containerId: targetId,
  differences: [
    { field: 'image', desired: null, observed: 'app:1' },
    { field: 'state', desired: null, observed: 'running' },
  ],
};

export function orderFor(drift: Drift, said: Partial<Order> = {}): Order {
  return {
    node: 'node1',
    action: 'terminate',
    container: drift.container,
    containerId: targetId,
    drift: { id: drift.id, kind: drift.kind, digest: driftDigest(drift) },
    commit,
    origin: 'rule',
    by: 'drift_rules.unauthorized_containers',
    reason: 'nobody wants it',
    approvals: 0,
    issuedAt: new Date(nowMs - 1_000).toISOString(),
    expiresAt: new Date(nowMs + 60_000).toISOString(),
    nonce: '0'.repeat(32),
    ...said,
  };
}

/** Where an order for {@link rogue} is permitted. */
export function circumstances(said: Partial<Circumstances> = {}): Circumstances {
  return {
    node: 'node1',
    nowMs,
    wanted: () => undefined,
    trusted: true,
    adopted: { commit, policy: policyOf() },
    drifts: new Map([[rogue.id, { drift: rogue, sinceMs: nowMs - 10_000 }]]),
    target: { id: targetId, name: 'rogue' },
    containers: 10,
    past: [],
    approvers: [],
    witnessedBy: [],
    ...said,
  };
}
