import { limits } from '../../common/limits.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { type Order, orderHash } from '../../common/order.ts';

/** What containers are called that an order is about to put in the place of others, or has put aside. */
const asideName = /\.sigilwatch-(next|kept)-[0-9a-f]{12}$/;

interface UnderWay {
  readonly container: string;
  /** Approvals that it lacks yet. */
  missing: number;
  /** When it is over, said or not; Unix milliseconds. */
  readonly untilMs: number;
}

/**
 * What the orders that were really given have in hand on a node: while one of them replaces a container, the node concludes
 * nothing about it, and neither does a backtest.
 */
export class PastHandiwork {
  readonly #underWay = new Map<string, UnderWay>();

  begin(order: Order): void {
    if (order.action !== 'restore' && order.action !== 'rollback') return;
    const untilMs = Date.parse(order.expiresAt) + limits.healthyWithinMs + limits.stopGraceMs;
    this.#underWay.set(orderHash(order), { container: order.container, missing: order.approvals, untilMs });
  }

  approved(hash: string): void {
    const order = this.#underWay.get(hash);
    if (order !== undefined) order.missing -= 1;
  }

  /** @returns whether anything was in hand for it. */
  end(hash: string): boolean {
    return this.#underWay.delete(hash);
  }

  isInHand(container: string, nowMs: number): boolean {
    for (const [hash, order] of this.#underWay) {
      if (nowMs >= order.untilMs) this.#underWay.delete(hash);
      else if (order.container === container && order.missing <= 0) return true;
    }
    return false;
  }

  /** One that runs is somebody's again. */
  isPutAside({ name, state }: Pick<ObservedContainer, 'name' | 'state'>): boolean {
    return state !== 'running' && asideName.test(name);
  }
}
