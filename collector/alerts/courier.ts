import { hash } from 'node:crypto';
import { backoffDelayMs } from '../../common/backoff.ts';
import { type AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Breakers } from '../jobs/breakers.ts';
import { type AlertChannel, type AlertNotice, channelService } from './alert.ts';
import type { AlertMetrics, Claimed, DeliveryStore, Verdict } from './ports.ts';

export interface CourierOptions {
  readonly channel: AlertChannel;
  readonly store: DeliveryStore;
  readonly breakers: Pick<Breakers, 'state' | 'note'>;
  readonly metrics: AlertMetrics;
  readonly logger: Logger;
  /** Of the ledger. */
  readonly origin: string;
  /** As in {@link AlertNotice}. */
  readonly runbookUrl?: string | undefined;
  readonly maxAttempts: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Brings what waits to one channel. Each channel has one of its own, so one that hangs keeps no other waiting. */
export interface Courier {
  /**
   * Sends at most one message. What a crash leaves unsaid is sent again once the lease has ended: at least once, and with the same id.
   * @returns whether there may be more to send at once.
   * @throws AppError when the database does not answer; never because of the channel.
   */
  step(signal: AbortSignal): Promise<boolean>;
}

export function createCourier(options: CourierOptions): Courier {
  const { channel, store, breakers, metrics, logger, origin, runbookUrl, maxAttempts, random } = options;
  const { name } = channel;
  const service = channelService(name);

  async function delivered(claimed: readonly Claimed[], notice: AlertNotice, status: string): Promise<void> {
    const nowMs = await store.now();
    // A crash before this sends it once more.
    await store.delivered(idsOf(claimed), nowMs);
    await store.succeeded(name, nowMs);
    metrics.sent(name, claimed.length);
    logger.info('notification.sent', { channel: name, notification: notice.id, alerts: claimed.length, status });
    await breakers.note(service, undefined);
  }

  async function fail(claimed: readonly Claimed[], error: AppError): Promise<void> {
    const nowMs = await store.now();
    const verdicts = verdictsOf(claimed, error, { nowMs, maxAttempts, random });
    const dead = verdicts.filter(({ dueAtMs }) => dueAtMs === undefined).length;
    await store.failed(verdicts, { error: error.message, nowMs });
    metrics.failed(name);
    logger.warn('notification.failed', {
      channel: name,
      alerts: claimed.length,
      code: error.code,
      message: error.message,
    });
    if (dead > 0) {
      metrics.died(name, dead);
      logger.error('notification.dead', { channel: name, notifications: dead, message: error.message });
    }
    // Who refuses one message answers, and may take the next.
    if (error.code !== 'channel.refused') await store.stumbled(name, error.message, nowMs);
    const open = await breakers.note(service, error);
    if (open === null) return;
    logger.warn('notification.channel_left_alone', { channel: name, forMs: open.untilMs - open.sinceMs });
  }

  /** Decided only now: until the older words are settled nobody knows whether it is half a story. A given up one may have arrived all the same. */
  async function withoutUntoldEnds(claimed: readonly Claimed[]): Promise<readonly Claimed[]> {
    const ends = claimed.filter(({ item }) => item.change === 'resolved');
    if (channel.knowsKeys === true || ends.length === 0) return claimed;
    const dropped = await store.dropUntoldEnds(idsOf(ends));
    if (dropped.length > 0) logger.info('notification.untold_end', { channel: name, notifications: dropped.length });
    return claimed.filter(({ id }) => !dropped.includes(id));
  }

  return {
    step: async (signal) => {
      const nowMs = await store.now();
      const state = await breakers.state(service, nowMs);
      // Its queue costs no attempts meanwhile.
      if (state === 'open') return false;
      const limit = state === 'half-open' ? 1 : channel.maxItems;
      const taken = await store.claim(name, { nowMs, untilMs: nowMs + limits.alertLeaseMs, limit });
      if (taken.length === 0) return false;
      const claimed = await withoutUntoldEnds(taken);
      if (claimed.length === 0) return true;
      const notice = { ...noticeOf(claimed, { name, origin, nowMs }), runbookUrl };
      const outcome = await channel.send(notice).then(({ status }) => ({ status }), toAppError);
      if ('status' in outcome) await delivered(claimed, notice, outcome.status);
      else if (signal.aborted) await store.release(idsOf(claimed));
      else await fail(claimed, outcome);
      return 'status' in outcome;
    },
  };
}

/** The same ones in one message make the same id. */
function noticeOf(
  claimed: readonly Claimed[],
  { name, origin, nowMs }: { name: string; origin: string; nowMs: number },
): AlertNotice {
  const id = hash('sha256', JSON.stringify([origin, name, idsOf(claimed)]), 'hex').slice(0, 32);
  return { id, sentAtMs: nowMs, origin, isTest: false, items: claimed.map(({ item }) => item) };
}

function idsOf(claimed: readonly Claimed[]): readonly number[] {
  return claimed.map(({ id }) => id);
}

/**
 * What becomes of notifications that were not taken. Pure.
 * @param error `channel.refused` is for good; but of several in one message nobody knows which one was meant.
 */
export function verdictsOf(
  claimed: readonly Claimed[],
  error: AppError,
  { nowMs, maxAttempts, random }: { nowMs: number; maxAttempts: number; random: () => number },
): readonly Verdict[] {
  if (error.code === 'channel.refused') {
    const dueAtMs = claimed.length === 1 ? undefined : nowMs;
    return claimed.map(({ id }) => ({ id, dueAtMs, alone: true }));
  }
  const { retryAfterMs } = error.details;
  const leastMs = typeof retryAfterMs === 'number' ? Math.min(retryAfterMs, limits.maxAlertRetryAfterMs) : 0;
  const bounds = { minMs: limits.alertBackoffMinMs, maxMs: limits.alertBackoffMaxMs };
  return claimed.map(({ id, attempts }) => {
    const delayMs = Math.max(leastMs, backoffDelayMs(attempts - 1, bounds, random));
    return { id, dueAtMs: attempts >= maxAttempts ? undefined : nowMs + delayMs, alone: false };
  });
}
