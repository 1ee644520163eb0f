import type { DriftKind } from '../../common/drift-kind.ts';
import type { Order, OrderAction } from '../../common/order.ts';
import type { EnforcementStore, Replica, StoredOrder } from './ports.ts';

/** Containers of one name on all nodes, as of one moment. */
export interface Replicas {
  readonly all: readonly Replica[];
  /** Orders on them, on whatever node, that are not answered yet. */
  readonly requested: readonly StoredOrder[];
}

export async function readReplicas(
  store: Pick<EnforcementStore, 'replicas' | 'requestedOn'>,
  container: string,
  nowMs: number,
): Promise<Replicas> {
  const [all, requested] = await Promise.all([store.replicas(container), store.requestedOn(container, nowMs)]);
  return { all, requested };
}

/** Whether an order takes down what is wanted, so that what else runs under its name has to be known. */
export function endangersReplica(action: OrderAction, kind: DriftKind): boolean {
  return action !== 'restore' && kind !== 'UNAUTHORIZED_CONTAINER';
}

/**
 * The replicas of a container as they will be once what is ordered elsewhere has begun: one that is about to be replaced does
 * not count as running.
 * @param node whose own replica is in question, and counts as it is
 */
export function replicasLeft({ all, requested }: Replicas, node: string): readonly Replica[] {
  const busy = new Set(requested.map(({ order }) => order.node).filter((other) => other !== node));
  return all.map((replica) => (busy.has(replica.node) ? { ...replica, state: 'under order' } : replica));
}

/**
 * A wanted container is not replaced while it is the only one of its name that works: whoever uses it would have none. One that
 * does not work itself has nothing to lose.
 * @param left see {@link replicasLeft}
 * @returns why not; undefined when nothing speaks against it.
 */
export function lastReplica(
  { node, action, container, kind }: Pick<Order, 'node' | 'action' | 'container'> & { readonly kind: DriftKind },
  left: readonly Replica[],
): string | undefined {
  if (!endangersReplica(action, kind)) return undefined;
  const others = left.filter((replica) => replica.node !== node);
  const own = left.filter((replica) => replica.node === node);
  if (others.length === 0 || others.some(works) || (own.length > 0 && !own.some(works))) return undefined;
  return `no other ${container} is running and healthy`;
}

function works({ state, health }: Replica): boolean {
  return state === 'running' && (health === 'healthy' || health === 'none');
}
