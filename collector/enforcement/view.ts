import { rfc3339 } from '../../common/clock.ts';
import { approvalText, type Order } from '../../common/order.ts';
import { countedApprovals } from './counted-approvals.ts';
import type { Hold } from './holding.ts';
import type { ManifestInForce } from './operator.ts';
import type { OrderEventRow, StoredOrder } from './ports.ts';

/*
 * Orders as the API and the commands tell of them.
 */

/** An order that may not be on record yet. */
export function orderFields(order: Order) {
  const { node, action, container, containerId, drift, commit, origin, by, reason } = order;
  const { approvals, issuedAt, expiresAt } = order;
  const what = { node, action, container, container_id: containerId, drift, commit, origin, by, reason };
  return { ...what, approvals_needed: approvals, issued_at: issuedAt, expires_at: expiresAt };
}

/** One row of a list. */
export function orderView(stored: StoredOrder) {
  const { hash, index, order, status } = stored;
  const approvals = countedApprovals(stored).map((approval) => ({
    approver: approval.approver,
    key: approval.key ?? null,
    index: approval.index,
    at: rfc3339(approval.atMs),
  }));
  return { hash, index, status, ...orderFields(order), approvals };
}

export type OrderView = ReturnType<typeof orderView>;

/** With its whole story, oldest first, and what holds it up. */
export function orderStory(stored: StoredOrder, holds: readonly Hold[]) {
  return {
    ...orderView(stored),
    approval_text: approvalText(stored.hash),
    held_up_by: holds,
    events: stored.events.map(eventView),
  };
}

export type OrderStory = ReturnType<typeof orderStory>;

function eventView({ index, node, atMs, said }: OrderEventRow) {
  const head = { index, node, at: rfc3339(atMs) };
  switch (said.kind) {
    case 'order.approved': {
      const { approver, signature } = said.body.approval;
      return { ...head, kind: said.kind, approver, signature };
    }
    case 'order.rejected':
      return { ...head, kind: said.kind, actor: said.body.actor, reason: said.body.reason };
    case 'order.result': {
      const { outcome, code, reason, evidence, containerId } = said.body;
      const made = { evidence: evidenceView(evidence), container_id: containerId };
      return { ...head, kind: said.kind, outcome, code, reason, ...made };
    }
    default:
      return said satisfies never;
  }
}

type Evidence = Extract<OrderEventRow['said'], { kind: 'order.result' }>['body']['evidence'];

function evidenceView(evidence: Evidence) {
  if (evidence === null) return null;
  const { sha256, bytes, imageId, changedFiles, logBytes } = evidence;
  return { sha256, bytes, image_id: imageId, changed_files: changedFiles, log_bytes: logBytes };
}

interface Timed<Body> {
  readonly index: number;
  readonly atMs: number;
  readonly body: Body;
}

interface Silence {
  readonly id: string;
  readonly scope: { readonly node: string | null; readonly container: string | null; readonly kind: string | null };
  readonly until: string;
  readonly actor: string;
  readonly reason: string;
}

export function silenceFields({ id, scope, until, actor, reason }: Silence) {
  return { id, ...scope, until, actor, reason };
}

export function silenceView({ index, atMs, body }: Timed<Silence>) {
  return { index, at: rfc3339(atMs), ...silenceFields(body) };
}

interface Freeze {
  readonly commit: string;
  readonly drift: string;
  readonly nodes: readonly string[];
  readonly reason: string;
}

/** What decides about orders at this moment. */
export function enforcementView(
  manifest: ManifestInForce | undefined,
  measures: { readonly frozen: readonly Timed<Freeze>[]; readonly silences: readonly Timed<Silence>[] },
) {
  const policy = manifest?.policy;
  return {
    commit: manifest?.commit ?? null,
    mode: policy?.mode ?? null,
    manual_orders: policy?.manualOrders ?? null,
    approvers: policy?.governance.approvers ?? null,
    frozen: measures.frozen.map(({ index, atMs, body }) => ({ index, at: rfc3339(atMs), ...body })),
    silences: measures.silences.map(silenceView),
  };
}
