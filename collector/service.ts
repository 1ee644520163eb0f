import { setTimeout as delay } from 'node:timers/promises';
import type { Notifier } from '../common/notify.ts';

/** What the service manager is told about. */
export interface Served {
  readonly url: string;
  /** What `/ready` would say is wrong; undefined when nothing is. Never rejects. */
  unready(): Promise<string | undefined>;
}

export interface ServiceNeeds {
  readonly notifier: Notifier;
  /** How often life signs are due; undefined where nobody waits for them. */
  readonly lifeSignMs: number | undefined;
  /** How often it is looked whether the collector is ready, when it is not, and when nobody waits for life signs. */
  readonly lookMs: number;
  readonly signal: AbortSignal;
}

/**
 * Tells the service manager when the collector takes entries, that it lives, and what is wrong; until stopped. Never rejects. A life sign says that
 * the process gets round to its timers. It does not depend on the database: where that is away, another start helps nobody.
 */
export async function reportService(served: Served, needs: ServiceNeeds): Promise<void> {
  const { notifier, lifeSignMs, lookMs, signal } = needs;
  let told = await becomeReady(served, needs);
  if (signal.aborted) return;
  await notifier.ready(told);
  const beat = setInterval(() => void notifier.watchdog(), lifeSignMs ?? lookMs);
  signal.addEventListener('abort', () => clearInterval(beat), { once: true });
  while (await paused(lookMs, signal)) {
    const status = statusOf(served, await served.unready());
    if (status !== told && !signal.aborted) await notifier.status(status);
    told = status;
  }
}

/** @returns the status to begin with. */
async function becomeReady(served: Served, { notifier, lookMs, signal }: ServiceNeeds): Promise<string> {
  for (;;) {
    const wrong = await served.unready();
    if (wrong === undefined || signal.aborted) return statusOf(served, wrong);
    await notifier.status(statusOf(served, wrong));
    await paused(lookMs, signal);
  }
}

function statusOf({ url }: Served, wrong: string | undefined): string {
  return wrong === undefined ? `serving ${url}` : `not ready: ${wrong}`;
}

/** @returns whether to go on. */
function paused(ms: number, signal: AbortSignal): Promise<boolean> {
  return delay(ms, true, { signal }).catch(() => false);
}
