import type { Approval } from '../../common/order.ts';
import type { StoredOrder } from './ports.ts';
import { signingKeyOf } from './ssh-signature.ts';

/** An approval that counts. */
export interface CountedApproval extends Approval {
  readonly index: number;
  readonly atMs: number;
  /** Of the SSH key that signed; undefined when the signature names none. */
  readonly key: string | undefined;
}

/** Index of the entry by which an order had as many approvals as it asks for; infinite while it lacks some. */
export function releasedIndex(stored: StoredOrder): number {
  const { approvals } = stored.order;
  if (approvals === 0) return stored.index;
  return countedApprovals(stored)[approvals - 1]?.index ?? Number.POSITIVE_INFINITY;
}

/** The approvals of an order that count, oldest first: one for each approver and one for each key. */
export function countedApprovals({ events }: Pick<StoredOrder, 'events'>): readonly CountedApproval[] {
  const counted: CountedApproval[] = [];
  for (const { index, atMs, said } of events) {
    if (said.kind !== 'order.approved') continue;
    const { approval } = said.body;
    const key = signingKeyOf(approval.signature);
    const known = counted.some(
      (other) => other.approver === approval.approver || (other.key === key && key !== undefined),
    );
    if (!known) counted.push({ ...approval, index, atMs, key });
  }
  return counted;
}
