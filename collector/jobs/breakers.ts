import { rfc3339 } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import type { BreakerState } from '../../common/job-words.ts';
import { limits } from '../../common/limits.ts';
import { type Acting, recordAct } from '../auth/audit.ts';
import type { AuthRecorder } from '../auth/ports.ts';

/*
 * One circuit breaker for each outside service, be it the target of a job or a channel of alerts: one that is down is left alone for a
 * while, then one request tries. All of its state is one row, by the clock of the database: it outlives the process, and collectors
 * share it.
 */

/** Where a breaker stands. Unix milliseconds. */
export interface Circuit {
  readonly failuresInARow: number;
  /** Null while it is closed. */
  readonly open: { readonly sinceMs: number; readonly untilMs: number } | null;
}

export const closedCircuit: Circuit = { failuresInARow: 0, open: null };

/** After how many failures in a row it opens, and for how long: doubling from the one to the other with each trial that fails. */
export interface BreakerBounds {
  readonly threshold: number;
  readonly minMs: number;
  readonly maxMs: number;
}

export const breakerBounds: BreakerBounds = {
  threshold: limits.breakerFailures,
  minMs: limits.breakerMinMs,
  maxMs: limits.breakerMaxMs,
};

export function stateOf({ open }: Circuit, nowMs: number): BreakerState {
  if (open === null) return 'closed';
  // One that was opened later than now was opened before the clock was set back: it is not waited for.
  return open.sinceMs <= nowMs && nowMs < open.untilMs ? 'open' : 'half-open';
}

/** What a failure makes of it; one that began before it was opened, and ends only now, says nothing new. */
export function afterFailure(circuit: Circuit, nowMs: number, { threshold, minMs, maxMs }: BreakerBounds): Circuit {
  if (stateOf(circuit, nowMs) === 'open') return circuit;
  const failuresInARow = circuit.failuresInARow + 1;
  const beyond = failuresInARow - threshold;
  if (beyond < 0) return { failuresInARow, open: null };
  const forMs = Math.min(maxMs, minMs * 2 ** Math.min(beyond, 30));
  return { failuresInARow, open: { sinceMs: nowMs, untilMs: nowMs + forMs } };
}

/** What is stored of one. */
export interface StoredBreaker {
  readonly service: string;
  readonly circuit: Circuit;
  /** Since ever, or since it was reset. */
  readonly successes: number;
  readonly failures: number;
  /** Requests that were not made because it was open. */
  readonly refused: number;
  readonly lastFailure: string | null;
  readonly changedAtMs: number;
}

/** Durable, and shared by all collectors of a database. */
export interface BreakerStore {
  /** One clock for all collectors, Unix milliseconds. */
  now(): Promise<number>;
  read(service: string): Promise<StoredBreaker | undefined>;
  list(): Promise<readonly StoredBreaker[]>;
  /** Counts a success, which closes it. */
  succeeded(service: string): Promise<void>;
  /** Counts a failure. One after the other, whoever else counts. @param next what it makes of the breaker. @returns that. */
  failed(service: string, reason: string, next: (circuit: Circuit) => Circuit): Promise<Circuit>;
  /** Counts a request that was not made. */
  refused(service: string): Promise<void>;
  /** Closes it, and counts from zero. @returns whether there was one. */
  reset(service: string): Promise<boolean>;
  /** Forgets those that were not used since. */
  forget(beforeMs: number): Promise<void>;
}

/** One breaker as it is told. */
export interface BreakerView {
  readonly service: string;
  readonly state: BreakerState;
  readonly failures_in_a_row: number;
  readonly opened_at: string | null;
  /** Until when nothing is tried; null when it is not open. */
  readonly open_until: string | null;
  readonly successes: number;
  readonly failures: number;
  readonly refused: number;
  readonly last_failure: string | null;
  readonly changed_at: string;
}

export interface Breakers {
  /** Whether requests are made; `half-open`: make one, which decides. For whoever asks before there is a request, with the time of the database. */
  state(service: string, nowMs: number): Promise<BreakerState>;
  /**
   * Counts what became of a request. Only `channel.unreachable` speaks against the service: one that refuses is there.
   * @param error undefined when it was taken. @returns the breaker where it has opened.
   */
  note(service: string, error: AppError | undefined): Promise<Circuit['open']>;
  /**
   * @param signal once it is aborted, a failure is ours and does not count.
   * @throws AppError `channel.unreachable` with `details.openUntilMs` (Unix milliseconds) when the service is left alone; else what
   *   `work` throws.
   */
  run<T>(service: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
}

export interface BreakerOptions extends Partial<BreakerBounds> {
  readonly store: BreakerStore;
}

export function createBreakers({ store, ...given }: BreakerOptions): Breakers {
  const bounds = { ...breakerBounds, ...given };
  /** Services that this process is trying: of several requests one decides. */
  const trying = new Set<string>();

  async function note(service: string, error: AppError | undefined): Promise<Circuit['open']> {
    if (error?.code !== 'channel.unreachable') {
      await store.succeeded(service);
      return null;
    }
    const nowMs = await store.now();
    const reason = error.message.slice(0, limits.maxOwnTextChars);
    const { open } = await store.failed(service, reason, (circuit) => afterFailure(circuit, nowMs, bounds));
    return open;
  }

  async function attempt<T>(service: string, work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    let result: T;
    try {
      result = await work();
    } catch (thrown) {
      if (signal?.aborted !== true) await note(service, toAppError(thrown));
      throw thrown;
    }
    await note(service, undefined);
    return result;
  }

  return {
    note,
    state: async (service, nowMs) => stateOf((await store.read(service))?.circuit ?? closedCircuit, nowMs),
    run: async (service, work, signal) => {
      const { circuit = closedCircuit } = (await store.read(service)) ?? {};
      const nowMs = await store.now();
      const state = stateOf(circuit, nowMs);
      if (state === 'closed') return attempt(service, work, signal);
      if (state === 'open' || trying.has(service)) {
        await store.refused(service);
        throw leftAlone(service, state === 'open' && circuit.open ? circuit.open.untilMs : nowMs + bounds.minMs);
      }
      trying.add(service);
      try {
        return await attempt(service, work, signal);
      } finally {
        trying.delete(service);
      }
    },
  };
}

function leftAlone(service: string, openUntilMs: number): AppError {
  return new AppError(
    'channel.unreachable',
    `${service} did not answer several times and is left alone until ${rfc3339(openUntilMs)}`,
    { retryable: true, details: { openUntilMs } },
  );
}

/** @param nowMs by the clock of the database, which breakers go by. */
export function breakerView(stored: StoredBreaker, nowMs: number): BreakerView {
  const { service, circuit, successes, failures, refused, lastFailure, changedAtMs } = stored;
  const { failuresInARow, open } = circuit;
  const state = stateOf(circuit, nowMs);
  return {
    ...{ service, state, failures_in_a_row: failuresInARow },
    opened_at: open && rfc3339(open.sinceMs),
    open_until: open && state === 'open' ? rfc3339(open.untilMs) : null,
    ...{ successes, failures, refused, last_failure: lastFailure, changed_at: rfc3339(changedAtMs) },
  };
}

export interface BreakerPorts {
  readonly store: BreakerStore;
  readonly ledger: AuthRecorder;
}

/**
 * Closes a breaker, on record. All collectors see it at their next request.
 * @throws AppError `resource.not_found`.
 */
export async function resetBreaker({ store, ...acting }: BreakerPorts & Acting, service: string): Promise<BreakerView> {
  const before = await store.read(service);
  if (before === undefined) {
    throw new AppError(
      'resource.not_found',
      `there is no breaker ${service.slice(0, 100)}; GET /api/v1/breakers names them`,
    );
  }
  const { state, failures_in_a_row } = breakerView(before, await store.now());
  const detail = `it was ${state}, after ${failures_in_a_row} failures in a row`;
  await recordAct(acting, { event: 'breaker.reset', subject: service, detail });
  await store.reset(service);
  return breakerView((await store.read(service)) ?? { ...before, circuit: closedCircuit }, await store.now());
}
