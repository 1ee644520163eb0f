import { rfc3339 } from '../../common/clock.ts';
import { approvalsNeeded, type EnforcementPolicy } from '../../common/enforcement/policy.ts';
import { makesContainer, wantedOf } from '../../common/enforcement/wanted.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type Order, type OrderAction, orderHash } from '../../common/order.ts';
import { recordAct } from '../auth/audit.ts';
import { type ManifestInForce, type OperatorPorts, requireManifest, requireReason } from './operator.ts';
import type { GovernedNodeRow, StoredOrder } from './ports.ts';

/** What an operator wants done. */
export interface ManualWish {
  readonly node: string;
  readonly action: OrderAction;
  /** By its name, without the leading slash. */
  readonly container: string;
  readonly reason: string;
}

/** What a manual order is decided by. */
export interface ManualFacts {
  readonly manifest: ManifestInForce;
  /** Active nodes. */
  readonly nodes: readonly GovernedNodeRow[];
  /** Ids of the containers that were last seen under the name. */
  readonly containers: readonly string[];
  readonly by: string;
  readonly nowMs: number;
  /** 16 random bytes. */
  readonly nonce: Buffer;
}

/**
 * The order that an operator asks for. Refuses at once what no node would obey. Pure.
 * @throws AppError `state.conflict` or `resource.not_found`, with what to do.
 */
export function manualOrder(wish: ManualWish, facts: ManualFacts): Order {
  const { node, action, container, reason } = wish;
  const { commit, policy } = facts.manifest;
  requirePermitted(policy, action);
  if (!facts.nodes.some((known) => known.node === node)) {
    throw new AppError('resource.not_found', `there is no node ${node} whose key is in force; "nodes list" names them`);
  }
  const committed = wantedOf(wish, facts.manifest.wanted);
  if (makesContainer(action) && committed.wanted === undefined) {
    throw new AppError(
      'state.conflict',
      `the manifest in force wants no container ${container} on ${node}, so there is nothing to ${action} it by`,
      { details: { node, container } },
    );
  }
  return {
    node,
    action,
    container,
    containerId: targetOf(wish, facts.containers),
    drift: null,
    commit,
    origin: 'operator',
    by: facts.by,
    reason,
    approvals: approvalsNeeded(policy, { action, origin: 'operator' }),
    issuedAt: rfc3339(facts.nowMs),
    expiresAt: rfc3339(facts.nowMs + Math.min(policy.governance.approval_time_ms, limits.maxOrderLifetimeMs)),
    nonce: facts.nonce.toString('hex'),
    ...committed,
  };
}

function requirePermitted(policy: EnforcementPolicy, action: OrderAction): void {
  const refuse = (why: string) => new AppError('state.conflict', `no node would obey: ${why}`);
  if (policy.mode === 'audit') {
    throw refuse('config.enforcement_mode is audit, so nothing is done about anything; commit active or passive first');
  }
  if (!policy.manualOrders) {
    throw refuse('config.allow_manual_overrides is not set in the manifest; commit it first');
  }
  const needed = approvalsNeeded(policy, { action, origin: 'operator' });
  const { approvers } = policy.governance;
  if (approvers.length > 0 && new Set(approvers).size < needed) {
    throw refuse(`${action} needs ${needed} approvals, and governance.approvers names ${approvers.length}`);
  }
}

/** The one container that is meant; null for one that is to be made and is not there. */
function targetOf({ node, action, container }: ManualWish, ids: readonly string[]): string | null {
  const [id, another] = ids;
  if (another !== undefined) {
    throw new AppError(
      'state.conflict',
      `two containers on ${node} were seen as ${container}, one of them before it was renamed; try again after its next scan`,
      { details: { ids } },
    );
  }
  if (id !== undefined) return id;
  if (action === 'restore') return null;
  throw new AppError(
    'resource.not_found',
    `no container ${container} was seen on ${node}, which ${action} would need`,
    {
      details: { node, container },
    },
  );
}

/**
 * What would be ordered, at this moment. Writes nothing.
 * @throws AppError as {@link manualOrder}; `state.conflict` without a manifest; `validation.request` without a reason.
 */
export async function planManual(ports: OperatorPorts, wish: ManualWish): Promise<Order> {
  const manifest = requireManifest(ports);
  const reason = requireReason(wish.reason);
  const [nodes, containers] = await Promise.all([
    ports.store.nodes(),
    ports.containersNamed(wish.node, wish.container),
  ]);
  const facts = {
    manifest,
    nodes,
    containers,
    by: ports.actor,
    nowMs: ports.clock.now(),
    nonce: ports.randomBytes(16),
  };
  return manualOrder({ ...wish, reason }, facts);
}

/** A container that runs or is kept would be ended, cut off or replaced. */
function isDestructive({ action, containerId }: Order): boolean {
  return action !== 'release' && containerId !== null;
}

/**
 * Puts an operator's order on record; its node hears of it once it is approved.
 * @param confirmed the container's name, said once more by whoever wants it.
 * @throws AppError as {@link planManual}; `validation.request` for another name;
 *   `state.conflict` when the budget of manual orders is used up.
 */
export async function issueManual(ports: OperatorPorts, wish: ManualWish, confirmed: string): Promise<StoredOrder> {
  if (confirmed !== wish.container) {
    throw new AppError(
      'validation.request',
      `to ${wish.action} ${wish.container}, confirm it with exactly this name; nothing was ordered`,
      { details: { parameter: 'confirm' } },
    );
  }
  const order = await planManual(ports, wish);
  const hash = orderHash(order);
  const { node, action, container, reason } = order;
  if (isDestructive(order)) await ports.spend(ports, `${action} ${node}/${container}`);
  await recordAct(ports, { event: 'order.issued', subject: `${action} ${node}/${container}`, detail: reason });
  const { index } = await ports.ledger.record({ kind: 'order.issued', body: { order } });
  return { hash, index, order, status: 'requested', events: [] };
}
