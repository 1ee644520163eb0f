import { limits } from '../limits.ts';
import type { RollbackPolicy } from './policy.ts';

/** An order that no operator gave and that was begun for exactly this drift, by the manifest in force; none that has ended the drift. */
export interface Attempt {
  /** When it was executed, where no look has shown its effect yet; undefined where it came to nothing. Unix milliseconds. */
  readonly executedMs: number | undefined;
  /** When its node last said something of it, Unix milliseconds. */
  readonly lastWordMs: number;
}

/** Why a drift is not answered once more. */
export interface AttemptHold {
  readonly code: 'verifying' | 'exhausted' | 'retry';
  readonly reason: string;
  /** When it ends by itself, Unix milliseconds; undefined when time alone changes nothing. */
  readonly untilMs?: number;
}

/**
 * What was tried before and did not end a drift holds up the next attempt; undefined when it does not, or not any more. The same for a
 * collector and for a node that decides alone.
 */
export function heldByAttempts(
  attempts: readonly Attempt[],
  { maxRetries, retryDelayMs }: Pick<RollbackPolicy, 'maxRetries' | 'retryDelayMs'>,
  nowMs: number,
): AttemptHold | undefined {
  if (attempts.length === 0) return undefined;
  const shownMs = Math.max(...attempts.flatMap(({ executedMs }) => executedMs ?? [])) + limits.verifyWithinMs;
  if (nowMs < shownMs) {
    return {
      code: 'verifying',
      reason: 'an order was executed, and the next looks will show its effect',
      untilMs: shownMs,
    };
  }
  // What was executed and stands all the same has failed, whatever was said.
  if (attempts.length > maxRetries) {
    const reason = `${attempts.length} orders for this drift came to nothing, and no more are tried`;
    return { code: 'exhausted', reason };
  }
  const untilMs = Math.max(...attempts.map(({ lastWordMs }) => lastWordMs)) + retryDelayMs;
  if (nowMs >= untilMs) return undefined;
  return { code: 'retry', reason: 'the last order for this drift failed a moment ago', untilMs };
}
