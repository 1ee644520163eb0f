import type { Clock } from '../../common/clock.ts';
import { runs } from '../../common/enforcement/governance.ts';
import type { Circumstances, StandingDrift } from '../../common/enforcement/permission.ts';
import { digestsOf } from '../../common/enforcement/wanted.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { Order } from '../../common/order.ts';
import type { Task } from './acts.ts';
import type { VerifyApprovals } from './approvers.ts';
import type { OrderBook } from './book.ts';
import { witnessesOf } from './issued.ts';
import type { AdoptedPolicy, OrderWatch } from './ports.ts';

/** What stands on the node at one moment, apart from the order that is judged by it. */
export type Surroundings = Omit<Circumstances, 'target' | 'approvers' | 'witnessedBy'>;

export interface CircumstancesOptions {
  readonly node: string;
  readonly watch: OrderWatch;
  readonly book: Pick<OrderBook, 'past'>;
  readonly adopted: () => AdoptedPolicy | undefined;
  /** False while the ledger stands contradicted. */
  readonly trusted: () => boolean;
  readonly verifyApprovals: VerifyApprovals;
  readonly clock: Clock;
}

/** What an order is judged by, as it is on this node when somebody asks. */
export interface NodeCircumstances {
  surroundings(): Surroundings;
  /** What an order is about, looked at anew: what was true when it was decided may not be any more. @throws AppError `engine.*` */
  look(order: Order): Promise<Pick<Task, 'target' | 'wanted'>>;
  /** @param target as {@link look} found it */
  of(task: Pick<Task, 'hash' | 'approvals' | 'proof'>, target: ObservedContainer | undefined): Promise<Circumstances>;
}

export function createCircumstances(options: CircumstancesOptions): NodeCircumstances {
  const { node, watch, book, adopted, trusted, verifyApprovals, clock } = options;

  function surroundings(): Surroundings {
    const inForce = adopted();
    return {
      node,
      nowMs: clock.now(),
      trusted: trusted(),
      adopted: inForce,
      drifts: watch.standing ?? new Map<string, StandingDrift>(),
      containers: [...watch.observed.values()].filter(runs).length,
      past: book.past,
      wanted: digestsOf(inForce?.containers ?? []),
    };
  }

  return {
    surroundings,
    look: async ({ action, containerId, container }) => {
      if (containerId === null) await watch.scan();
      else await watch.look(containerId);
      if (action === 'restore' && containerId !== null && !watch.observed.has(containerId)) await watch.scan();
      const named = [...watch.observed.values()].find(({ name }) => name === container);
      const meant = containerId === null ? named : watch.observed.get(containerId);
      // Nobody may have the name of one that is gone and is to be made anew.
      const target = meant ?? (action === 'restore' ? named : undefined);
      return { target, wanted: adopted()?.containers.find(({ name }) => name === container) };
    },
    of: async ({ hash, approvals, proof }, target) => {
      const approvers = await verifyApprovals(hash, approvals);
      const at = surroundings();
      return { ...at, target, approvers, witnessedBy: witnessesOf(proof, at.adopted?.policy.witnesses) };
    },
  };
}
