import { hash } from 'node:crypto';
import { canonicalText, type JsonValue } from '../canonical.ts';
import { hostSideOf } from '../container-spec.ts';
import type { DesiredContainer } from '../desired.ts';
import type { Order, OrderAction } from '../order.ts';

/**
 * What an order that makes a container commits to. The ledger holds only its hash; it leaves out all that may hold a secret, since
 * whoever reads the ledger could guess a short one by its hash.
 * @returns canonical JSON of the container's `HostSide`
 */
export function wantedText(desired: DesiredContainer): string {
  // By way of JSON, whose values an interface is not to the compiler.
  const side: JsonValue = JSON.parse(JSON.stringify(hostSideOf(desired)));
  return canonicalText(side);
}

/** Hex SHA-256 of {@link wantedText}: `Order.wanted`. */
export function wantedDigest(desired: DesiredContainer): string {
  return hash('sha256', wantedText(desired), 'hex');
}

/** Whether carrying out an order makes a container. */
export function makesContainer(action: OrderAction): boolean {
  return action === 'restore' || action === 'rollback';
}

/** The digest of the container that is wanted under a name; undefined when there is none. */
export type WantedDigests = (node: string, container: string) => string | undefined;

/** The member `wanted` of an order, where it has one. */
export function wantedOf(
  { node, action, container }: Pick<Order, 'node' | 'action' | 'container'>,
  digests: WantedDigests,
): Pick<Order, 'wanted'> {
  const wanted = makesContainer(action) ? digests(node, container) : undefined;
  return wanted === undefined ? {} : { wanted };
}

/** @param containers that are wanted on a node */
export function wantedIn(containers: (node: string) => readonly DesiredContainer[]): WantedDigests {
  return (node, container) => digestsOf(containers(node))(node, container);
}

/** @param containers that are wanted on the one node that is asked about */
export function digestsOf(containers: readonly DesiredContainer[]): WantedDigests {
  return (_, container) => {
    const desired = containers.find(({ name }) => name === container);
    return desired === undefined ? undefined : wantedDigest(desired);
  };
}
