import { setTimeout as delay } from 'node:timers/promises';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { IdempotencyStore } from './idempotency.ts';

/** Forgets old keys every now and then, unless there is a reason not to, until the signal. They count for nothing meanwhile. */
export async function sweepKeys(
  store: Pick<IdempotencyStore, 'sweep'>,
  { whyNot, logger }: { readonly whyNot: () => Promise<string | undefined>; readonly logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await delay(limits.idempotencySweepMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    try {
      if ((await whyNot()) === undefined) await store.sweep();
    } catch (thrown) {
      logger.warn('idempotency.not_swept', { error: toAppError(thrown) });
    }
  }
}
