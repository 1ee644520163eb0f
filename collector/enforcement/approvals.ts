import { approvalsNeeded } from '../../common/enforcement/policy.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type Approval, approvalText } from '../../common/order.ts';
import { recordAct } from '../auth/audit.ts';
import { countedApprovals } from './counted-approvals.ts';
import {
  findOrder,
  type ManifestInForce,
  type OperatorPorts,
  requireManifest,
  requireReason,
  requireRequested,
} from './operator.ts';
import type { StoredOrder } from './ports.ts';
import { signingKeyOf } from './ssh-signature.ts';

/**
 * Puts the signature of an approver on record, once it is known to hold. The node checks it again by itself.
 * Not for two calls at a time about one order: each has to see what the other did.
 * @param name the order's hash, or the beginning of it.
 * @returns the order with the approval.
 * @throws AppError `resource.not_found`, `validation.request`; `state.conflict` for an approval that would not count;
 *   `auth.signature` for one that does not hold.
 */
export async function approveOrder(ports: OperatorPorts, name: string, approval: Approval): Promise<StoredOrder> {
  const stored = await findOrder(ports, name);
  requireRequested(stored);
  requireWanted(stored, approval, requireManifest(ports));
  const verdict = await ports.checkSignature(approval, approvalText(stored.hash));
  if (!verdict.holds) {
    throw new AppError(
      'auth.signature',
      `the signature is not one of ${approval.approver} over the approval text of order ${stored.hash.slice(0, 12)}: ${verdict.reason}`,
      { details: { approver: approval.approver } },
    );
  }
  const { approver } = approval;
  const detail = `by ${approver}, with the key ${signingKeyOf(approval.signature)}`;
  await recordAct(ports, { event: 'order.approved', subject: stored.hash, detail });
  await ports.ledger.record({ kind: 'order.approved', body: { order: stored.hash, approval } });
  return findOrder(ports, stored.hash);
}

/** Approvals that an order needs by itself and by the manifest in force. */
export function approvalsOf({ order }: Pick<StoredOrder, 'order'>, manifest: ManifestInForce | undefined): number {
  const needed = manifest === undefined ? 0 : approvalsNeeded(manifest.policy, order);
  return Math.max(order.approvals, needed);
}

/** Names are given to a command and shown to people. */
const approverName = /^[^\s\p{C}"'*?!,]{1,255}$/u;

/** @throws AppError `validation.request` for what cannot be a name in `allowed_signers`, or an SSH signature. */
export function requireSigner({ approver, signature }: Approval): void {
  if (approverName.test(approver) && signature.length <= limits.maxApprovalChars) return;
  throw new AppError('validation.request', 'not an approval: a name as in allowed_signers, and an SSH signature');
}

/** @throws AppError `state.conflict` for an approval that no node would count, whatever its signature. */
function requireWanted(stored: StoredOrder, { approver, signature }: Approval, manifest: ManifestInForce): void {
  const { order, hash } = stored;
  const refuse = (why: string) => new AppError('state.conflict', why, { details: { hash, approver } });
  requireSigner({ approver, signature });
  if (order.origin === 'local') throw refuse('the node decided this by itself; it asks for no approval');
  if (order.commit !== manifest.commit) {
    throw refuse(
      'the manifest has changed since the order was made, and no node obeys it any more: reject it and make another',
    );
  }
  const { approvers } = manifest.policy.governance;
  if (approvers.length > 0 && !approvers.includes(approver)) {
    throw refuse(`${approver} is not in governance.approvers of the manifest: ${approvers.join(', ')}`);
  }
  const counted = countedApprovals(stored);
  if (counted.length >= approvalsOf(stored, manifest)) throw refuse('the order has all approvals it needs');
  if (counted.some((other) => other.approver === approver)) throw refuse(`${approver} has approved it already`);
  const key = signingKeyOf(signature);
  const same = counted.find((other) => other.key !== undefined && other.key === key);
  if (same !== undefined)
    throw refuse(`this is the key that ${same.approver} has approved it with: two people are two keys`);
}

/**
 * Ends an order before it is carried out. What a node has begun it finishes.
 * @throws AppError `resource.not_found`, `validation.request`; `state.conflict` once something has become of it.
 */
export async function rejectOrder(
  ports: Omit<OperatorPorts, 'manifest' | 'checkSignature'>,
  name: string,
  why: string,
): Promise<StoredOrder> {
  const reason = requireReason(why);
  const { hash, ...stored } = await findOrder(ports, name);
  requireRequested({ hash, ...stored });
  await recordAct(ports, { event: 'order.rejected', subject: hash, detail: reason });
  await ports.ledger.record({ kind: 'order.rejected', body: { order: hash, actor: ports.actor, reason } });
  return findOrder(ports, hash);
}
