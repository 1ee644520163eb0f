import { hash } from 'node:crypto';
import { backoffDelayMs } from '../../common/backoff.ts';
import { canonicalBytes } from '../../common/canonical.ts';
import { rfc3339 } from '../../common/clock.ts';
import type { AppError } from '../../common/errors.ts';
import type { JobStatus, RunOutcome } from '../../common/job-words.ts';
import type { Body } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';

/*
 * Where a job stands, from what is on record of it. Pure: whoever finds a job after a crash decides as who left it would have.
 */

/** A run of a job, or several that only waited. */
export interface Attempt {
  /** From 1. */
  readonly n: number;
  /** Of the last run, where there were several. */
  readonly begunAtMs: number;
  readonly endedAtMs: number | null;
  /** Null while it runs, and after a crash. */
  readonly outcome: RunOutcome | null;
  readonly error: string | null;
  readonly runs: number;
}

/** What somebody wants done, as the ledger has it. */
export interface Requested extends Body<'enforcement.requested'> {
  readonly index: number;
  readonly atMs: number;
}

export interface Ended extends Body<'enforcement.result'> {
  readonly index: number;
  readonly atMs: number;
}

/** Everything that is known of a job. */
export interface Job {
  readonly requested: Requested;
  readonly attempts: readonly Attempt[];
  /** Of the transaction that was signed for it, whether or not it was sent. */
  readonly txId: string | null;
  readonly result: Ended | null;
}

export function statusOf({ result, attempts }: Pick<Job, 'result' | 'attempts'>): JobStatus {
  if (result !== null) return result.outcome;
  const last = attempts.at(-1);
  if (last === undefined) return 'pending';
  return last.outcome === null ? 'running' : 'retrying';
}

/** Tries that count: those that failed by what the other side did. */
export function failedAttempts(attempts: readonly Attempt[]): number {
  return attempts.filter(({ outcome }) => outcome === 'failed').length;
}

/** How a run came out. */
export type Ending =
  | { readonly outcome: 'done' }
  | { readonly outcome: 'failed'; readonly error: AppError }
  | { readonly outcome: 'waiting'; readonly reason: string; readonly dueAtMs: number }
  | { readonly outcome: 'returned' };

/** What is to be done next with a job whose last run has ended. */
export type Verdict =
  | { readonly next: 'end'; readonly outcome: 'done' | 'failed'; readonly error: string | null }
  | { readonly next: 'again'; readonly dueAtMs: number };

export interface Patience {
  readonly maxAttempts: number;
  readonly backoff: { readonly minMs: number; readonly maxMs: number };
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/**
 * What is decided by the attempts alone, which is all that a crash leaves: undefined when it is time to try.
 */
export function settled(
  attempts: readonly Attempt[],
  maxAttempts: number,
): Extract<Verdict, { next: 'end' }> | undefined {
  const last = attempts.at(-1);
  if (last?.outcome === 'done') return { next: 'end', outcome: 'done', error: null };
  if (failedAttempts(attempts) >= maxAttempts) {
    const error = attempts.findLast(({ outcome }) => outcome === 'failed')?.error ?? null;
    return { next: 'end', outcome: 'failed', error };
  }
  const interruptions = attempts.filter(({ outcome }) => outcome === 'interrupted').length;
  if (interruptions < limits.maxJobInterruptions) return undefined;
  return { next: 'end', outcome: 'failed', error: `the collector ended ${interruptions} times while it ran` };
}

/**
 * What becomes of a job after a run.
 * @param attempts with that run among them.
 */
export function verdictOf(
  ending: Ending,
  attempts: readonly Attempt[],
  { maxAttempts, backoff, random, nowMs }: Patience & { readonly nowMs: number },
): Verdict {
  if (ending.outcome === 'waiting') return { next: 'again', dueAtMs: ending.dueAtMs };
  if (ending.outcome === 'returned') return { next: 'again', dueAtMs: nowMs };
  if (ending.outcome === 'failed' && isForGood(ending.error)) {
    return { next: 'end', outcome: 'failed', error: ending.error.message };
  }
  const end = settled(attempts, maxAttempts);
  if (end !== undefined) return end;
  const asked = ending.outcome === 'failed' ? ending.error.details.retryAfterMs : undefined;
  const leastMs = typeof asked === 'number' ? asked : 0;
  const delayMs = Math.max(leastMs, backoffDelayMs(failedAttempts(attempts) - 1, backoff, random));
  return { next: 'again', dueAtMs: nowMs + delayMs };
}

/** Whether no other try can come out differently: so said whoever tried, or the request itself cannot be carried out. */
function isForGood({ code, details }: AppError): boolean {
  return details.isForGood === true || code === 'validation.body';
}

/** One step of the way of a job, as it is told. */
export type Step =
  | {
      readonly step: 'requested';
      readonly at: string;
      readonly ledger_entry: number;
      readonly actor: string;
      readonly retry_of: string | null;
    }
  | ({ readonly step: 'attempt' } & AttemptView)
  | {
      readonly step: 'result';
      readonly at: string;
      readonly ledger_entry: number;
      readonly outcome: 'done' | 'failed';
      readonly trace: string;
    };

export type AttemptView = {
  readonly n: number;
  readonly runs: number;
  readonly begun_at: string;
  readonly ended_at: string | null;
  readonly outcome: RunOutcome | null;
  readonly error: string | null;
};

export function attemptView({ n, runs, begunAtMs, endedAtMs, outcome, error }: Attempt): AttemptView {
  const ended_at = endedAtMs === null ? null : rfc3339(endedAtMs);
  return { n, runs, begun_at: rfc3339(begunAtMs), ended_at, outcome, error };
}

/** The whole way of a job, in order. */
export function traceOf({ requested, attempts, result }: Job): readonly Step[] {
  const { index, atMs, actor, retryOf } = requested;
  return [
    { step: 'requested', at: rfc3339(atMs), ledger_entry: index, actor, retry_of: retryOf },
    ...attempts.map((attempt) => ({ step: 'attempt', ...attemptView(attempt) }) as const),
    ...(result === null
      ? []
      : [
          {
            step: 'result',
            at: rfc3339(result.atMs),
            ledger_entry: result.index,
            outcome: result.outcome,
            trace: result.trace,
          } as const,
        ]),
  ];
}

/** What the ledger says of the attempts, which themselves are rows that somebody could change. */
export function traceDigest(attempts: readonly Attempt[]): string {
  return hash('sha256', canonicalBytes(attempts.map(attemptView)), 'hex');
}
