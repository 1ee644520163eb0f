import { enforcementPolicy } from '../common/enforcement/policy.ts';
import { wantedIn } from '../common/enforcement/wanted.ts';
import { containersOn } from '../common/manifest/compile.ts';
import { parseManifest } from '../common/manifest/manifest.ts';
import type { Order } from '../common/order.ts';

/** A manifest that lets operators order and makes two of three people agree to terminate. */
export const orderingManifest = `
config: { enforcement_mode: active, allow_manual_overrides: true }
governance:
  approvals: { terminate: 2 }
  approvers: [alice, bob, carol]
  approval_time: 3600
`;

/** What a manifest in this text would have in force. */
export function inForce(text: string = orderingManifest, commit = 'c'.repeat(40)) {
  const manifest = parseManifest(text);
  return { commit, policy: enforcementPolicy(manifest), wanted: wantedIn(containersOn(manifest)) };
}

/** An order by a rule, which waits for nobody and ends an hour after it was issued. */
export function orderOf(different: Partial<Order> & { readonly issuedMs: number }): Order {
  const { issuedMs, ...others } = different;
  return {
    node: 'lyra',
    action: 'terminate',
    container: 'rogue',
    containerId: 'a'.repeat(64),
    drift: null,
    commit: 'c'.repeat(40),
    origin: 'rule',
    by: 'drift_rules.unauthorized_containers',
    reason: 'test',
    approvals: 0,
    issuedAt: new Date(issuedMs).toISOString(),
    expiresAt: new Date(issuedMs + 3_600_000).toISOString(),
    nonce: '0'.repeat(32),
    ...others,
  };
}
