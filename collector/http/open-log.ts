import type { ServerResponse } from 'node:http';
import type { MiddlewareHandler } from 'hono';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { countedAddress } from './client-address.ts';
import type { HttpEnv } from './env.ts';

export interface AnswerBounds {
  readonly answers: number;
  readonly answersPerAddress: number;
  readonly bytes: number;
  readonly timeoutMs: number;
}

const defaultBounds: AnswerBounds = {
  answers: limits.openLogAnswers,
  answersPerAddress: limits.openLogAnswersPerAddress,
  bytes: limits.openLogAnswerBytes,
  timeoutMs: limits.openLogAnswerTimeoutMs,
};

/**
 * Bounds what readers whom nobody knows can hold of this process: answers that are being made or that they have not taken
 * yet, and the memory those take. Beyond it new ones are told to come back (429), and whoever takes too long to take an
 * answer is cut off.
 */
export function boundedAnswers(bounds: AnswerBounds = defaultBounds): MiddlewareHandler<HttpEnv> {
  const perAddress = new Map<string, number>();
  let answers = 0;
  let bytes = 0;
  const count = (address: string, by: 1 | -1) => {
    answers += by;
    const held = (perAddress.get(address) ?? 0) + by;
    if (held === 0) perAddress.delete(address);
    else perAddress.set(address, held);
  };
  return async (c, next) => {
    const { outgoing } = c.env ?? {};
    const address = countedAddress(c.get('address') ?? outgoing?.req.socket.remoteAddress ?? '');
    if (answers >= bounds.answers || (perAddress.get(address) ?? 0) >= bounds.answersPerAddress) throw busy();
    count(address, 1);
    let claimed = 0;
    c.set('claimBytes', (length) => {
      if (bytes + length > bounds.bytes) throw busy();
      bytes += length;
      claimed += length;
    });
    const taken = untilTaken(outgoing, bounds.timeoutMs);
    try {
      await next();
    } finally {
      // Only when both are over: who asks and hangs up leaves the work behind.
      void taken.then(() => {
        count(address, -1);
        bytes -= claimed;
      });
    }
  };
}

/** Resolves when the answer has left, or the connection is gone, which it is after `timeoutMs` at the latest. */
function untilTaken(outgoing: ServerResponse | undefined, timeoutMs: number): Promise<void> {
  if (outgoing === undefined || outgoing.closed) return Promise.resolve();
  return new Promise((resolve) => {
    const deadline = setTimeout(() => outgoing.destroy(), timeoutMs);
    outgoing.once('close', () => {
      clearTimeout(deadline);
      resolve();
    });
  });
}

function busy(): AppError {
  return new AppError('rate_limit.exceeded', 'the log is being read by too many at once; try again in a second', {
    retryable: true,
  });
}
