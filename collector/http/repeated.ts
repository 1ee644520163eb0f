import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { AppError, toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { idempotencyKeyHeader, replayedHeader } from '../api/headers.ts';
import type { Caller } from '../auth/caller.ts';
import type { HttpEnv } from './env.ts';
import { failureAnswer } from './errors.ts';
import { type IdempotencyStore, keyOf, type Outcome, once, requestDigest } from './idempotency.ts';

export interface Repeatable {
  readonly contract: { readonly operation: string; readonly method: string; readonly idempotency: boolean };
  readonly asked: { readonly body: unknown; readonly caller: Caller };
  readonly around: { readonly idempotency?: IdempotencyStore; readonly logger?: Logger };
  readonly act: () => Promise<Response>;
}

/**
 * The answer to a request that passed every check: of its handler, or, under a key that was there before, the kept one.
 * @throws AppError `validation.request` for a key where none is taken, `state.conflict` as `once` has it.
 */
export async function answerOnce(c: Context<HttpEnv>, { contract, asked, around, act }: Repeatable): Promise<Response> {
  if (contract.method === 'get') return act();
  const header = c.req.header(idempotencyKeyHeader);
  if (!contract.idempotency && header === undefined) return act();
  const body = asked.body === undefined ? undefined : await c.req.json();
  const key = keyOf(header, body);
  if (key === undefined) return act();
  const store = requireStore(around.idempotency, contract, asked.caller);
  const { operation } = contract;
  const request = requestDigest({ path: c.req.path, query: c.req.queries(), body });
  const settled = await once(store, { caller: asked.caller.actor, operation, key }, request, {
    act: () => outcomeOf(act, c.get('requestId')),
    onUnkept: (thrown) => around.logger?.warn('idempotency.not_kept', { operation, error: toAppError(thrown) }),
  });
  return 'settle' in settled ? settled.settle() : replay(c, settled);
}

function requireStore(
  store: IdempotencyStore | undefined,
  { operation, idempotency }: Repeatable['contract'],
  { role }: Caller,
): IdempotencyStore {
  if (idempotency && store !== undefined && role !== 'anonymous') return store;
  const why = idempotency ? 'is for those who have signed in' : `is not taken by ${operation}: its answer is not kept`;
  throw new AppError('validation.request', `${idempotencyKeyHeader} ${why}; leave it out`, {
    details: { header: idempotencyKeyHeader },
  });
}

function replay(c: Context<HttpEnv>, { status, text }: { readonly status: number; readonly text: string | null }) {
  if (!mayHaveBody(status)) throw new Error(`status ${status} was kept`);
  if (text === null) {
    const message = `this was done (status ${status}), but its answer was too large to be kept`;
    throw new AppError('state.conflict', message, { details: { status } });
  }
  return c.body(text, status, {
    'Content-Type': 'application/json; charset=UTF-8',
    [replayedHeader]: 'true',
  });
}

function mayHaveBody(status: number): status is ContentfulStatusCode {
  return status >= 200 && status < 600 && ![204, 205, 304].includes(status);
}

async function outcomeOf(act: () => Promise<Response>, requestId: string): Promise<Outcome> {
  try {
    const response = await act();
    const { status } = response;
    const text = await response.clone().text();
    return { status, text, lasts: status < 500, settle: () => response };
  } catch (thrown) {
    const { error, status, body } = failureAnswer(thrown, requestId);
    const settle = () => {
      throw thrown;
    };
    return { status, text: JSON.stringify(body), lasts: status < 500 && isFinal(error), settle };
  }
}

/** A refusal by what was found is the answer; what was asked wrongly, or may go well in a moment, may be asked again. */
function isFinal({ code, retryable }: AppError): boolean {
  return !retryable && !/^(validation|auth|rate_limit)\./.test(code);
}
