import { limits } from '../../common/limits.ts';
import { type Refused, refused } from './refused.ts';

interface Used {
  readonly forgetAtMs: number;
  readonly counts: Map<string, number>;
}

/** So many a minute, by the clock's minutes. */
export class Rate {
  readonly #perMinute: number;
  readonly #now: () => number;
  #minute = 0;
  #taken = 0;

  constructor(perMinute: number, now: () => number) {
    this.#perMinute = perMinute;
    this.#now = now;
  }

  /** Whether there is one left. */
  take(): boolean {
    const minute = Math.floor(this.#now() / 60_000);
    if (minute !== this.#minute) [this.#minute, this.#taken] = [minute, 0];
    this.#taken += 1;
    return this.#taken <= this.#perMinute;
  }
}

type Limited = { readonly hash: string; readonly expiresMs: number };

/**
 * What each order has been used for. An order is a thing to be done, not a licence: whoever got hold of the agent could otherwise
 * stop a container again and again by one order for as long as it is valid. Kept in memory only, so starting the executor anew
 * lets orders that are still valid be used as often again; neither the agent nor the collector can do that.
 */
export class OrderUses {
  readonly #orders = new Map<string, Used>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Takes one use of the order for `key`; refused when it was used too often. */
  take({ hash, expiresMs }: Limited, key: string): Refused | undefined {
    const used = this.#orders.get(hash) ?? this.#begin(hash, expiresMs);
    if (used === undefined) return refused('busy', 'too many orders at a time');
    const count = used.counts.get(key) ?? 0;
    if (count >= limits.executorUsesPerOrder) return refused('order.used_up', 'the order was used for this before');
    if (count === 0 && used.counts.size >= limits.executorKeysPerOrder) {
      return refused('order.used_up', 'the order was used for too many things');
    }
    used.counts.set(key, count + 1);
    return undefined;
  }

  /** The call for which {@link take} was asked never reached the engine. */
  giveBack({ hash }: Limited, key: string): void {
    const counts = this.#orders.get(hash)?.counts;
    const count = counts?.get(key) ?? 0;
    if (count > 1) counts?.set(key, count - 1);
    else counts?.delete(key);
  }

  /** Whether anything was done by this order. */
  isBegun({ hash }: Limited): boolean {
    return (this.#orders.get(hash)?.counts.size ?? 0) > 0;
  }

  #begin(hash: string, expiresMs: number): Used | undefined {
    if (this.#orders.size >= limits.executorMaxOrders) this.#forgetOld();
    if (this.#orders.size >= limits.executorMaxOrders) return undefined;
    const used = { forgetAtMs: expiresMs + limits.executorFinishMs, counts: new Map<string, number>() };
    this.#orders.set(hash, used);
    return used;
  }

  #forgetOld(): void {
    const nowMs = this.#now();
    for (const [hash, { forgetAtMs }] of this.#orders) if (nowMs >= forgetAtMs) this.#orders.delete(hash);
  }
}
