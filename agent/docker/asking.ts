import Docker from 'dockerode';
import type { z } from 'zod';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';

/** What everything that talks to the engine has in common: deadlines, and errors in our own words. */
export interface Asking {
  /**
   * The answer of one call, which is told by the signal when nobody waits for it any more.
   * @throws AppError `engine.unreachable` for no answer within `timeoutMs`, `engine.answer` for a refusal
   */
  ask<T>(call: (abortSignal: AbortSignal) => Promise<T>, timeoutMs?: number): Promise<T>;
  /** Ends the calls under way, which reject, and refuses those to come. */
  close(): void;
}

export function asking(socketPath: string, usualTimeoutMs: number): Asking {
  const closing = new AbortController();
  return {
    ask: async (call, timeoutMs = usualTimeoutMs) => {
      try {
        return await within(timeoutMs, closing.signal, call);
      } catch (thrown) {
        throw engineError(thrown, socketPath);
      }
    },
    close: () => closing.abort(),
  };
}

/**
 * A client of the engine behind a local unix socket. No agent is passed: with one of our own dockerode is 30 times slower,
 * since it prints every option of every request for its debug log, whether that is on or not.
 * @param said what every call is sent with: `idleMs` closes sockets on which nothing comes for so long
 */
export function clientAt(
  socketPath: string,
  { idleMs, headers = {} }: { readonly idleMs?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): Docker {
  // `host: undefined` because dockerode would otherwise prefer DOCKER_HOST to the socket we were told to watch.
  const target = { socketPath, host: undefined, protocol: 'http', headers } as const;
  return new Docker(idleMs === undefined ? target : { ...target, timeout: idleMs });
}

/** The answer as `schema` reads it. @throws AppError `engine.answer` naming `request` */
export function read<T>(schema: z.ZodType<T>, json: unknown, request: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new AppError('engine.answer', `the Docker engine answered ${request} with ${firstIssue(parsed.error)}`);
}

export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'something unreadable';
  return `an unexpected ${issue.path.join('.') || 'document'}: ${issue.message}`;
}

/** The HTTP status of an answer that the client takes for an error; undefined when there was no answer. */
export function statusOf(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error) || !('statusCode' in thrown)) return undefined;
  return typeof thrown.statusCode === 'number' ? thrown.statusCode : undefined;
}

export async function unlessGone<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (thrown) {
    if (statusOf(thrown) === 404) return undefined;
    throw thrown;
  }
}

/** dockerode never settles a call whose answer breaks off in the middle, so the deadline cannot be left to it. */
async function within<T>(
  timeoutMs: number,
  closing: AbortSignal,
  call: (abortSignal: AbortSignal) => Promise<T>,
): Promise<T> {
  const unanswered = new AbortController();
  let giveUp: (code: string, message: string) => void = () => {};
  const givenUp = new Promise<never>((_, reject) => {
    giveUp = (code, message) => {
      reject(Object.assign(new Error(message), { code }));
      // An answer that never ends would be gathered for as long as it comes.
      unanswered.abort();
    };
  });
  const close = (): void => giveUp('ECANCELED', 'the agent is stopping');
  const timer = setTimeout(() => giveUp('ETIMEDOUT', `no answer within ${timeoutMs} ms`), timeoutMs);
  closing.addEventListener('abort', close);
  if (closing.aborted) close();
  try {
    return await Promise.race([call(unanswered.signal), givenUp]);
  } finally {
    clearTimeout(timer);
    closing.removeEventListener('abort', close);
  }
}

export function engineError(thrown: unknown, socketPath: string): AppError {
  if (thrown instanceof AppError) return thrown;
  const status = statusOf(thrown);
  if (status !== undefined) {
    return new AppError('engine.answer', `the Docker engine at ${socketPath} refused: ${toAppError(thrown).message}`, {
      cause: thrown,
      details: { socketPath, status },
      retryable: status >= 500,
    });
  }
  const errno = errnoOf(thrown);
  if (errno === undefined) return toAppError(thrown);
  return new AppError('engine.unreachable', unreachableMessage(errno, socketPath), {
    cause: thrown,
    details: { socketPath, errno },
    retryable: true,
  });
}

function unreachableMessage(errno: string, socketPath: string): string {
  switch (errno) {
    case 'ENOENT':
      return `no Docker engine at ${socketPath}: start the engine or correct the socket path in the settings`;
    case 'ECONNREFUSED':
      return `nobody answers at ${socketPath}: start the Docker engine`;
    case 'EACCES':
    case 'EPERM':
      return `not allowed to open ${socketPath}: run as root or as a member of the group that owns the socket`;
    case 'ECANCELED':
      return `the Docker engine at ${socketPath} had not answered when the agent was stopped`;
    case 'ETIMEDOUT':
      return `the Docker engine at ${socketPath} does not answer in time: it is frozen or overloaded, check its log`;
    default:
      return `lost the connection to the Docker engine at ${socketPath} (${errno}): check that it still runs`;
  }
}
