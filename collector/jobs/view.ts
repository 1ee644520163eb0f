import { rfc3339 } from '../../common/clock.ts';
import type { DeadLetter } from './dead-letters.ts';
import { attemptView, type Job, statusOf, traceOf } from './runs.ts';

/** A job as it is told, in the words of the API. */
export function jobView(job: Job) {
  const { requested, attempts, txId, result } = job;
  const { id, artifact, action, target, reason, actor, retryOf, atMs } = requested;
  return {
    ...{ enforcement_id: id, artifact_id: artifact, action, target, reason, actor, retry_of: retryOf },
    status: statusOf(job),
    tx_id: txId,
    error_msg: result === null ? (attempts.at(-1)?.error ?? null) : result.error,
    requested_at: rfc3339(atMs),
  };
}

export function jobStory(job: Job) {
  return { ...jobView(job), attempts: job.attempts.map(attemptView), inflow_trace: [...traceOf(job)] };
}

export function deadLetterView(letter: DeadLetter) {
  const { result, requested, followUp } = letter;
  const failed_at = rfc3339(result?.atMs ?? requested.atMs);
  return { ...jobView(letter), failed_at, follow_up: followUp === null ? null : followUpView(followUp) };
}

export function deadLetterStory(letter: DeadLetter) {
  return { ...deadLetterView(letter), attempts: letter.attempts.map(attemptView) };
}

function followUpView(followUp: NonNullable<DeadLetter['followUp']>) {
  const { by, actor, atMs } = followUp;
  const enforcement_id = followUp.by === 'retry' ? followUp.enforcement : null;
  const reason = followUp.by === 'resolution' ? followUp.reason : null;
  return { by, actor, at: rfc3339(atMs), enforcement_id, reason };
}
