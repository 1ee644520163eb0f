import { heldByAttempts } from '../../common/enforcement/attempts.ts';
import { refusalOf, type StandingDrift } from '../../common/enforcement/permission.ts';
import type { Logger } from '../../common/log.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { type Order, orderHash } from '../../common/order.ts';
import { toWire } from '../../common/protocol.ts';
import type { Journal } from '../ports.ts';
import type { Task } from './acts.ts';
import type { OrderBook } from './book.ts';
import type { Surroundings } from './circumstances.ts';
import type { LocalRules } from './local.ts';
import type { AdoptedPolicy, OrderWatch } from './ports.ts';
import type { OrderRecord } from './records.ts';

export interface AloneOptions {
  readonly local: LocalRules;
  readonly book: Pick<OrderBook, 'attemptsAt'>;
  readonly watch: Pick<OrderWatch, 'standing' | 'observed'>;
  readonly journal: Pick<Journal, 'append'>;
  readonly surroundings: () => Surroundings;
  /** Whether an order is being carried out on a container. */
  readonly isBusy: (container: string) => boolean;
  /** Looks again at the container that an order is about. @throws AppError `engine.*` */
  readonly look: (order: Order) => Promise<Pick<Task, 'target' | 'wanted'>>;
  /** Durable when it resolves; the work goes on. */
  readonly begin: (task: Task, entry: OrderRecord['entry']) => Promise<void>;
  readonly logger: Logger;
}

/** What stands, as all drifts of one round are judged before anything is looked at. */
interface Seen {
  readonly at: Surroundings;
  readonly byId: ReadonlyMap<string, ObservedContainer>;
  readonly byName: ReadonlyMap<string, ObservedContainer>;
}

/**
 * Acts on the standing rules, within the limits of the manifest in force; every such act is an entry before it begins.
 *
 * Every look is compared, and every comparison may call for a decision: so the engine is asked about nothing but what would be
 * done if it is still so, and about each drift once in a call, however often it is seen meanwhile.
 * @returns what is to be called when something was compared, once at a time
 */
export function createAlone(options: AloneOptions): () => Promise<void> {
  const { local, book, watch, journal, surroundings, isBusy, look, begin, logger } = options;

  function seen(): Seen {
    const byId = watch.observed;
    return { at: surroundings(), byId, byName: new Map([...byId.values()].map((one) => [one.name, one])) };
  }

  /** Whether it is permitted as it stands: as strictly as if the collector had asked for it. */
  function isPermitted(order: Order, at: Surroundings, target: ObservedContainer | undefined): boolean {
    const asked: Order = { ...order, origin: 'rule' };
    return refusalOf(asked, { ...at, target, approvers: [], witnessedBy: null }) === undefined;
  }

  function isHeld(standing: StandingDrift, { commit, policy }: AdoptedPolicy, nowMs: number): boolean {
    const { drift } = standing;
    const hold = heldByAttempts(book.attemptsAt({ drift, commit }), policy.rollback, nowMs);
    if (hold !== undefined) logger.debug('order.held', { drift: drift.id, code: hold.code, reason: hold.reason });
    return hold !== undefined || local.isHeld(standing, commit);
  }

  /** The order that a drift would get by what is known; undefined where it would get none. */
  function dueFor(standing: StandingDrift, inForce: AdoptedPolicy, { at, byId, byName }: Seen): Order | undefined {
    const order = local.orderFor(standing, inForce);
    if (order === undefined || isBusy(order.container)) return undefined;
    const target = order.containerId === null ? byName.get(order.container) : byId.get(order.containerId);
    const isDue = isPermitted(order, at, target) && !isHeld(standing, inForce, at.nowMs);
    return isDue ? order : undefined;
  }

  async function answer(standing: StandingDrift, order: Order): Promise<void> {
    const found = await look(order);
    // Looking at it has taken its time: the collector may be back, or have said something against it.
    const inForce = local.inForce();
    if (inForce === undefined || inForce.commit !== order.commit || isBusy(order.container)) return;
    const at = surroundings();
    if (!isPermitted(order, at, found.target) || isHeld(standing, inForce, at.nowMs)) return;
    const [said] = await journal.append([{ kind: 'order.local', body: { order } }]);
    if (said === undefined) return;
    await begin({ hash: orderHash(order), order, approvals: [], proof: null, ...found }, toWire(said));
  }

  return async () => {
    const considered = new Set<string>();
    const unconsidered = () => [...(watch.standing?.values() ?? [])].filter(({ drift }) => !considered.has(drift.id));
    // What opens during a look is not told again when the look is over.
    for (let fresh = unconsidered(); fresh.length > 0; fresh = unconsidered()) {
      let now = seen();
      for (const standing of fresh) {
        considered.add(standing.drift.id);
        const inForce = local.inForce();
        if (inForce === undefined) return;
        const order = dueFor(standing, inForce, now);
        if (order === undefined) continue;
        await answer(standing, order);
        now = seen();
      }
    }
  };
}
