import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { Action, Actions } from './actions.ts';
import type { Breakers } from './breakers.ts';
import type { JobMetrics } from './metrics.ts';
import type { JobQueue, JobStore } from './ports.ts';
import {
  type Ending,
  failedAttempts,
  type Job,
  type Patience,
  settled,
  traceDigest,
  type Verdict,
  verdictOf,
} from './runs.ts';

export interface WorkerOptions extends Patience {
  readonly queue: JobQueue;
  readonly store: JobStore;
  readonly ledger: Recorder;
  readonly actions: Actions;
  readonly breakers: Breakers;
  readonly logger: Logger;
  readonly metrics: JobMetrics;
  /** Jobs at the same time. */
  readonly concurrency: number;
}

/** Does what is in line, some at a time. */
export interface Worker {
  /** Takes what is due, as far as there is room; does not wait for it to end. @returns whether anything was taken. */
  step(signal: AbortSignal): Promise<boolean>;
  /** Until all that was taken has ended, or was given back because of the signal. */
  idle(): Promise<void>;
}

export function createWorker(options: WorkerOptions): Worker {
  const { queue, concurrency, logger } = options;
  const running = new Set<Promise<void>>();
  return {
    step: async (signal) => {
      if (signal.aborted || running.size >= concurrency) return false;
      const ids = await queue.take(concurrency - running.size);
      for (const id of ids) {
        const one = work(options, id, signal)
          // The job stays taken until its lease ends, and is looked at again then.
          .catch((thrown: unknown) => {
            const { code, message } = toAppError(thrown);
            logger.error('job.failed', { enforcement: id, code, message });
          })
          .finally(() => running.delete(one));
        running.add(one);
      }
      return ids.length > 0;
    },
    idle: async () => {
      while (running.size > 0) await Promise.all(running);
    },
  };
}

/**
 * One job. A crash at any point leaves it in line: before the run was written down nothing was done; during it, it is done
 * again with the same key; after its end was written down only the result is put on record; after that it only leaves the line.
 */
async function work(options: WorkerOptions, id: string, signal: AbortSignal): Promise<void> {
  const { queue, store, maxAttempts } = options;
  const found = await store.job(id);
  // Without a request there is nothing to do; the row is gone, or its place in line is older than a restored database.
  if (found === undefined || found.result !== null) return queue.finish(id);
  await endInterrupted(options, found);
  const before = await attemptsOf(options, id);
  const verdict = settled(before, maxAttempts) ?? (await tryOnce(options, found, signal));
  if (verdict.next === 'again') return queue.putOff(id, verdict.dueAtMs);
  await conclude(options, found, verdict);
  await queue.finish(id);
}

/** A run that nobody has ended was another collector's, or ours before a crash: its lease is over. */
async function endInterrupted({ store }: WorkerOptions, { requested, attempts }: Job): Promise<void> {
  for (const { n, outcome } of attempts) {
    if (outcome === null) await store.end(requested.id, n, 'interrupted', null);
  }
}

async function attemptsOf({ store }: WorkerOptions, id: string) {
  return (await store.job(id))?.attempts ?? [];
}

async function tryOnce(options: WorkerOptions, { requested }: Job, signal: AbortSignal): Promise<Verdict> {
  const { store, logger, metrics } = options;
  const { id, action } = requested;
  const n = await store.begin(id);
  const ending = await runOnce(options, requested, signal);
  const error = 'error' in ending ? ending.error.message : 'reason' in ending ? ending.reason : null;
  await store.end(id, n, ending.outcome, error?.slice(0, limits.maxOwnTextChars) ?? null);
  metrics.ran(action, ending.outcome);
  const attempts = await attemptsOf(options, id);
  logger.info('job.run', { enforcement: id, action, n, outcome: ending.outcome, ...(error !== null && { error }) });
  return verdictOf(ending, attempts, { ...options, nowMs: await store.now() });
}

async function runOnce(options: WorkerOptions, requested: Job['requested'], signal: AbortSignal): Promise<Ending> {
  const { actions, breakers, store } = options;
  const action: Action = actions[requested.action];
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(limits.jobRunTimeoutMs)]);
  try {
    action.check(requested.target);
    const answer = await breakers.run(action.serviceOf(requested.target), () => action.run(requested, bounded), signal);
    if (answer.state === 'done') return { outcome: 'done' };
    return { outcome: 'waiting', reason: answer.reason, dueAtMs: (await store.now()) + answer.afterMs };
  } catch (thrown) {
    if (signal.aborted) return { outcome: 'returned' };
    return endingOf(toAppError(thrown), action, await store.now());
  }
}

/** A breaker that is open has tried nothing, so nothing has failed. */
function endingOf(error: AppError, { isSpooled }: Action, nowMs: number): Ending {
  const { openUntilMs } = error.details;
  if (typeof openUntilMs === 'number') {
    return { outcome: 'waiting', reason: error.message, dueAtMs: Math.max(openUntilMs, nowMs) };
  }
  if (isSpooled && error.code === 'channel.unreachable') {
    return { outcome: 'waiting', reason: error.message, dueAtMs: nowMs + limits.spoolMs };
  }
  return { outcome: 'failed', error };
}

/** Puts the outcome on record, where nobody has done so: the ledger takes only one. */
async function conclude(
  { store, ledger, logger, metrics }: WorkerOptions,
  { requested }: Job,
  { outcome, error }: Extract<Verdict, { next: 'end' }>,
): Promise<void> {
  const { id, action, artifact } = requested;
  const known = await store.job(id);
  const attempts = known?.attempts ?? [];
  const txId = known?.txId ?? null;
  try {
    await ledger.record({
      kind: 'enforcement.result',
      body: {
        ...{ id, outcome, txId, error: error?.slice(0, limits.maxOwnTextChars) ?? null },
        attempts: failedAttempts(attempts) + (outcome === 'done' ? 1 : 0),
        trace: traceDigest(attempts),
      },
    });
  } catch (thrown) {
    // Another collector was first, or we were and did not hear of it.
    if (thrown instanceof AppError && thrown.code === 'state.conflict') return;
    throw thrown;
  }
  metrics.ended(action, outcome);
  if (outcome === 'done') logger.info('job.done', { enforcement: id, action, artifact });
  else logger.error('job.dead', { enforcement: id, action, artifact, error });
}
