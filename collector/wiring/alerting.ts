import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Teardown } from '../../common/teardown.ts';
import type { AlertChannel } from '../alerts/alert.ts';
import { type Courier, createCourier } from '../alerts/courier.ts';
import { createIntake, type Intake } from '../alerts/intake.ts';
import { openChannels } from '../alerts/open-channels.ts';
import type { AlertMetrics, KnownChannel } from '../alerts/ports.ts';
import type { WitnessFacts } from '../alerts/rules/facts.ts';
import { type ConditionWatch, createConditionWatch } from '../alerts/watch.ts';
import type { CollectorSettings } from '../config.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { Breakers } from '../jobs/breakers.ts';
import { postgresDeliveryStore } from '../postgres/alert-delivery-store.ts';
import { readFacts } from '../postgres/alert-facts-store.ts';
import { postgresAlertStore } from '../postgres/alert-store.ts';
import type { Db } from '../postgres/pool.ts';
import type { PublishedWitnesses } from '../witness/published.ts';

export interface AlertingNeeds {
  readonly db: Db;
  readonly ledger: Recorder;
  readonly clock: Clock;
  readonly metrics: AlertMetrics;
  /** Of all outside services. */
  readonly breakers: Breakers;
  readonly witnesses: Pick<PublishedWitnesses, 'view'>;
  readonly logger: Logger;
  readonly teardown: Teardown;
  /** Why nothing may be deleted by age now. */
  readonly whyNot: () => Promise<string | undefined>;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/**
 * Puts on record what is wrong with nodes, and tells people of the alerts in the ledger, in the background from now on. Several
 * collectors on one database share the work.
 * @throws AppError `validation.config` for channels that are set by half.
 */
export async function startAlerting(settings: CollectorSettings, needs: AlertingNeeds): Promise<void> {
  const { logger, teardown } = needs;
  const channels = await openChannels(settings.alerts, (path) => readFile(path, 'utf8'));
  const stopping = new AbortController();
  const loops = startLoops(settings, channels, { ...needs, signal: stopping.signal });
  if (channels.length > 0) logger.info('alerts.channels', { channels: channels.map(({ name }) => name) });
  teardown.add('alerts', async () => {
    stopping.abort();
    // Ends what is under way, and the wait for it.
    for (const channel of channels) await channel.close();
    await Promise.all(loops);
  });
}

interface Running extends AlertingNeeds {
  readonly signal: AbortSignal;
}

function startLoops(
  { alerts, ledger: { origin } }: CollectorSettings,
  channels: readonly AlertChannel[],
  { db, ledger, clock, metrics, breakers, witnesses, logger, random, whyNot, signal }: Running,
): Promise<void>[] {
  const { groupMs, repeatMs, attempts, rules: settings, runbookUrl } = alerts;
  const alertStore = postgresAlertStore(db);
  const intake = createIntake({ store: alertStore, logger, groupMs, repeatMs });
  const facts = (nowMs: number) => readFacts(db, { nowMs, settings, witnesses: () => witnessFacts(witnesses) });
  const watch = createConditionWatch({ store: alertStore, facts, settings, ledger, clock, metrics, logger });
  const store = postgresDeliveryStore(db);
  const couriers = channels.map((channel) =>
    createCourier({ channel, store, breakers, metrics, logger, origin, runbookUrl, maxAttempts: attempts, random }),
  );
  const loop = (pass: () => Promise<void>) => untilStopped(pass, { logger, signal });
  return [
    loop(readingOn(intake, channels, whyNot)),
    loop(lookingOn(watch)),
    ...couriers.map((courier) => loop(() => drain(courier, signal))),
  ];
}

async function witnessFacts(witnesses: AlertingNeeds['witnesses']): Promise<WitnessFacts> {
  const { quorum, unwitnessed } = await witnesses.view();
  return {
    required: quorum.required,
    unwitnessedSinceMs: unwitnessed === null ? null : Date.parse(unwitnessed.since),
  };
}

/** Reads on, tells what was held back and what still stands, and now and then says that the channels are still in use. */
function readingOn(
  intake: Intake,
  channels: readonly KnownChannel[],
  whyNot: AlertingNeeds['whyNot'],
): () => Promise<void> {
  let tidiedMs = Number.NEGATIVE_INFINITY;
  let repeatedMs = performance.now();
  return async () => {
    while (await intake.read());
    const nowMs = performance.now();
    if (nowMs - tidiedMs >= limits.alertTidyMs) {
      await intake.welcome(channels);
      if ((await whyNot()) === undefined) await intake.tidy();
      tidiedMs = nowMs;
    }
    if (nowMs - repeatedMs < limits.alertRepeatLookMs) return;
    await intake.catchUp(channels);
    repeatedMs = nowMs;
  };
}

function lookingOn(watch: ConditionWatch): () => Promise<void> {
  let lookedMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (performance.now() - lookedMs < limits.alertConditionLookMs) return;
    await watch.look();
    lookedMs = performance.now();
  };
}

async function drain(courier: Courier, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await courier.step(signal)));
}

/** Failures are the database's, and logged once until it answers again. */
async function untilStopped(
  pass: () => Promise<void>,
  { logger, signal }: { logger: Logger; signal: AbortSignal },
): Promise<void> {
  let told = '';
  while (!signal.aborted) {
    try {
      await pass();
      told = '';
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      if (told !== message && !signal.aborted) logger.error('alerts.failed', { code, message });
      told = message;
    }
    await delay(limits.alertPollMs, undefined, { signal }).catch(() => {});
  }
}
