import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Teardown } from '../../common/teardown.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { Actions } from '../jobs/actions.ts';
import { httpGateway } from '../jobs/arweave/gateway.ts';
import { pinAction, type RegistrationProof } from '../jobs/arweave/pin.ts';
import { parseWallet } from '../jobs/arweave/transaction.ts';
import type { BreakerPorts, BreakerStore, Breakers } from '../jobs/breakers.ts';
import type { DeadLetterPorts } from '../jobs/dead-letters.ts';
import type { JobMetrics } from '../jobs/metrics.ts';
import type { JobQueue, JobStore } from '../jobs/ports.ts';
import type { RequestPorts } from '../jobs/request.ts';
import type { JobSettings } from '../jobs/settings.ts';
import { webhookAction } from '../jobs/webhook.ts';
import { createWorker, type Worker } from '../jobs/worker.ts';
import { addressGuard } from '../outgoing/addresses.ts';
import type { Resolve } from '../outgoing/guarded-connector.ts';
import { postgresBreakerStore } from '../postgres/breaker-store.ts';
import { postgresJobQueue } from '../postgres/job-queue.ts';
import { postgresJobStore } from '../postgres/job-store.ts';
import type { Db } from '../postgres/pool.ts';

export interface WorkingNeeds {
  readonly db: Db;
  readonly ledger: Recorder & { readonly origin: string };
  readonly clock: Pick<Clock, 'now'>;
  /** The proof file of an artifact's registration; undefined when it is not registered. */
  readonly proofOf: RegistrationProof;
  readonly isRegistered: RequestPorts['isRegistered'];
  /** As `dns.lookup`, which it is otherwise. */
  readonly resolve?: Resolve;
}

/** What people ask of jobs, dead letters and breakers, as the routes need it. */
export interface Working {
  readonly requests: RequestPorts;
  readonly deadLetters: DeadLetterPorts;
  readonly breakers: BreakerPorts;
  readonly actions: Actions;
  readonly store: JobStore;
  /**
   * Reads what the settings name, so that what is wrong is said at the start.
   * @throws AppError `validation.config` for a wallet or a file of authorities that cannot be read.
   */
  load(): Promise<void>;
  close(): Promise<void>;
}

/**
 * What carries out enforcements, as the settings have it. Nothing is read or connected to until something is done: whoever only asks
 * need not be able to read the wallet.
 * @throws AppError `validation.config` for an Arweave gateway that is set by half.
 */
export function createWorking(settings: JobSettings, needs: WorkingNeeds): Working {
  const { db, ledger, clock, proofOf, isRegistered, resolve } = needs;
  const { webhook, arweave } = settings;
  const authorities = once(async () =>
    webhook.caFile === undefined ? undefined : await readText(webhook.caFile, 'jobs.webhook.caFile'),
  );
  const hook = webhookAction({
    ...{ secret: webhook.secret, ca: authorities, origin: ledger.origin, now: clock.now },
    guard: addressGuard(webhook.allowedAddresses),
    ...(resolve !== undefined && { resolve }),
  });
  const opened = openArweave(arweave);
  const store = postgresJobStore(db);
  const actions: Actions = {
    webhook_alert: hook.action,
    pin_arweave: pinAction({ store, proofOf, arweave: opened, origin: ledger.origin, now: clock.now }),
  };
  return {
    ...{ actions, store },
    requests: { ledger, actions, isRegistered, store, randomBytes },
    deadLetters: { ledger, actions, store, randomBytes },
    breakers: { ledger, store: postgresBreakerStore(db) },
    load: async () => {
      await authorities();
      await opened?.wallet();
    },
    close: async () => {
      await hook.close();
      await opened?.gateway.close();
    },
  };
}

function openArweave({ gateway, walletFile, confirmations }: JobSettings['arweave']) {
  if (gateway === undefined && walletFile === undefined) return undefined;
  if (gateway === undefined || walletFile === undefined) {
    throw new AppError('validation.config', 'jobs.arweave is set by half: it takes gateway and walletFile');
  }
  const wallet = once(async () => parseWallet(await readText(walletFile, 'jobs.arweave.walletFile'), walletFile));
  return { gateway: httpGateway(gateway), wallet, confirmations };
}

/** Reads it when it is first asked for; again when that failed. */
function once<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return async () => {
    reading ??= read();
    try {
      return await reading;
    } catch (thrown) {
      reading = undefined;
      throw thrown;
    }
  };
}

async function readText(path: string, setting: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AppError('validation.config', `${setting} names ${path}, which cannot be read`, { cause });
  });
}

export interface WorkerNeeds {
  readonly db: Db;
  readonly ledger: Recorder;
  readonly logger: Logger;
  readonly teardown: Teardown;
  readonly metrics: JobMetrics;
  /** Of all outside services. */
  readonly breakers: Breakers;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Works on what is in line, in the background from now on. Several collectors on one database share the work. */
export async function startWorker(settings: JobSettings, working: Working, needs: WorkerNeeds): Promise<void> {
  const { db, ledger, logger, teardown, metrics, breakers, random } = needs;
  const queue = await postgresJobQueue(db);
  const worker = createWorker({
    ...{ queue, ledger, logger, metrics, breakers, random, actions: working.actions, store: working.store },
    ...{ concurrency: settings.concurrency, maxAttempts: settings.attempts },
    backoff: { minMs: settings.backoffMinMs, maxMs: settings.backoffMaxMs },
  });
  const stopping = new AbortController();
  const upkeep = upkeepOf(queue, working.breakers.store);
  const looking = untilStopped(worker, upkeep, { logger, signal: stopping.signal });
  teardown.add('jobs', async () => {
    stopping.abort();
    await looking;
    // What is being sent may end by itself; after that its connections are closed, and it goes back in line.
    await Promise.race([worker.idle(), delay(limits.jobStopMs, undefined, { ref: false })]);
    await working.close();
    await worker.idle();
  });
}

/** Now and then, whoever comes first: jobs of collectors that are gone, jobs that are missing, breakers that nobody uses. */
function upkeepOf(queue: JobQueue, breakers: BreakerStore): () => Promise<void> {
  let [reclaimedMs, restockedMs] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  return async () => {
    const nowMs = performance.now();
    if (nowMs - reclaimedMs >= limits.jobReclaimMs) {
      await queue.reclaim();
      reclaimedMs = nowMs;
    }
    if (nowMs - restockedMs < limits.jobRestockMs) return;
    await queue.restock();
    await breakers.forget((await breakers.now()) - limits.breakerForgottenMs);
    restockedMs = nowMs;
  };
}

/** Failures are the database's, and logged once until it answers again. */
async function untilStopped(
  worker: Worker,
  upkeep: () => Promise<void>,
  { logger, signal }: { logger: Logger; signal: AbortSignal },
): Promise<void> {
  let told = '';
  while (!signal.aborted) {
    try {
      await upkeep();
      await worker.step(signal);
      told = '';
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      if (told !== message && !signal.aborted) logger.error('jobs.failed', { code, message });
      told = message;
    }
    await delay(limits.jobPollMs, undefined, { signal }).catch(() => {});
  }
}
