import { rfc3339 } from '../../common/clock.ts';
import type { DesiredContainer } from '../../common/desired.ts';
import type { StandingDrift } from '../../common/enforcement/permission.ts';
import { answerTo, type EnforcementPolicy } from '../../common/enforcement/policy.ts';
import { digestsOf, wantedOf } from '../../common/enforcement/wanted.ts';
import { limits } from '../../common/limits.ts';
import { driftDigest, type Order } from '../../common/order.ts';

export interface LocalDecision {
  readonly node: string;
  readonly adopted: {
    readonly commit: string;
    readonly policy: EnforcementPolicy;
    readonly containers: readonly DesiredContainer[];
  };
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** 16 random bytes in hex. */
  readonly nonce: string;
}

/** Whether a node that has been cut off for so long acts by itself. */
export function actsAlone({ governance }: EnforcementPolicy, cutOffMs: number): boolean {
  return governance.when_offline === 'local' && cutOffMs >= governance.offline_after_ms;
}

/** What the standing rules answer to a drift, as an order of the node's own; undefined when they only put it on record. */
export function localOrder(
  { drift }: StandingDrift,
  { node, adopted, nowMs, nonce }: LocalDecision,
): Order | undefined {
  const action = answerTo(adopted.policy, drift);
  const { rule } = adopted.policy.answers[drift.kind];
  if (action === undefined) return undefined;
  return {
    node,
    action,
    container: drift.container,
    containerId: drift.containerId,
    drift: { id: drift.id, kind: drift.kind, digest: driftDigest(drift) },
    commit: adopted.commit,
    origin: 'local',
    by: rule,
    reason: 'cut off from the collector',
    approvals: 0,
    issuedAt: rfc3339(nowMs),
    expiresAt: rfc3339(nowMs + limits.orderLifetimeMs),
    nonce,
    ...wantedOf({ node, action, container: drift.container }, digestsOf(adopted.containers)),
  };
}
