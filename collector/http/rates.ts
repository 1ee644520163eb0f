import type { Context } from 'hono';
import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { RateClass } from '../api/contract.ts';
import { rateHeaders } from '../api/headers.ts';
import type { Caller } from '../auth/caller.ts';
import { countedAddress, inProcess } from './client-address.ts';
import type { HttpEnv } from './env.ts';
import type { HttpSettings } from './settings.ts';
import { createSlidingWindow, type Taken } from './sliding-window.ts';

/** Who asks, as it is counted: an actor who is known, or else an address. */
export interface Asking {
  readonly caller: Caller;
  readonly address: string;
}

/** Counts requests of this process. Several collectors count each for themselves. */
export interface Rates {
  /** @returns undefined for whom nothing is counted. */
  take(rate: RateClass, asking: Asking): Taken | undefined;
}

type Counted = Exclude<RateClass, 'none'>;

const told: Readonly<Record<Counted, string>> = { read: 'reads', write: 'writes', sign_in: 'attempts to sign in' };

export function createRates({ rates }: Pick<HttpSettings, 'rates'>, clock: Pick<Clock, 'monotonicMs'>): Rates {
  const bounds = {
    windowMs: limits.rateWindowMs,
    slices: limits.rateWindowSlices,
    maxKeys: limits.maxRateKeys,
    crowdShare: limits.rateCrowdShare,
  };
  // Addresses are many and anybody's; they are not to fill the room of those who are known.
  const byActor = createSlidingWindow(bounds);
  const byAddress = createSlidingWindow(bounds);
  const perMinute: Readonly<Record<Counted, number>> = {
    read: rates.readsPerMinute,
    write: rates.writesPerMinute,
    sign_in: rates.signInsPerMinute,
  };
  return {
    take: (rate, { caller, address }) => {
      // Whoever is in this process needs no bounds, and has no address.
      if (rate === 'none' || caller.actor === 'local' || address === inProcess) return undefined;
      const nowMs = clock.monotonicMs();
      if (caller.role !== 'anonymous') return byActor.take(`${rate} ${caller.actor}`, perMinute[rate], nowMs);
      return byAddress.take(`${rate} ${countedAddress(address)}`, perMinute[rate], nowMs);
    },
  };
}

/**
 * Counts a request and says in the answer what is left.
 * @throws AppError `rate_limit.exceeded`.
 */
export function countRequest(c: Context<HttpEnv>, rates: Rates | undefined, rate: RateClass, caller: Caller): void {
  const taken = rates?.take(rate, { caller, address: c.get('address') ?? inProcess });
  if (taken === undefined || rate === 'none') return;
  const { refused, limit, remaining, resetMs } = taken;
  const seconds = Math.max(1, Math.ceil(resetMs / 1_000));
  c.header(rateHeaders.limit, String(limit));
  c.header(rateHeaders.remaining, String(remaining));
  c.header(rateHeaders.reset, String(seconds));
  if (!refused) return;
  const within = limits.rateWindowMs / 1_000;
  throw new AppError(
    'rate_limit.exceeded',
    `more than ${limit} ${told[rate]} in ${within} seconds; try again in ${seconds}`,
    { retryable: true, details: { limit, retryAfterSeconds: seconds } },
  );
}
