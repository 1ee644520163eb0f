import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { type AppError, type ErrorCode, toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { databaseFailure } from '../postgres/pool.ts';
import type { HttpEnv } from './env.ts';
import { snakeCased } from './json.ts';

const statusByFamily: Readonly<Record<string, ContentfulStatusCode>> = {
  validation: 400,
  auth: 401,
  resource: 404,
  state: 409,
  rate_limit: 429,
  ledger: 409,
  database: 503,
};

const statusByCode: Partial<Readonly<Record<ErrorCode, ContentfulStatusCode>>> = {
  'validation.body': 422,
  'validation.too_large': 413,
  'validation.config': 500,
  'auth.forbidden': 403,
  'auth.key_file': 500,
  'resource.gone': 410,
  'state.busy': 503,
  'ledger.tampered': 500,
  'ledger.checkpoint_file': 503,
  'database.migration': 500,
};

/** HTTP status of an error code; 500 for whatever is not the caller's to mend. */
export function httpStatus(code: ErrorCode): ContentfulStatusCode {
  return statusByCode[code] ?? statusByFamily[code.split('.')[0] ?? ''] ?? 500;
}

/**
 * The one place where something thrown becomes an answer: `{ error_code, message, details, request_id }`. What is not
 * ours is logged whole and told as `internal.error`, without its message or stack.
 */
export function errorAnswer(c: Context<HttpEnv>, thrown: unknown, logger: Logger): Response {
  const requestId = c.get('requestId');
  const { error, status, body } = failureAnswer(thrown, requestId);
  if (status >= 500) logger.error('http.failed', { requestId, method: c.req.method, path: c.req.path, error });
  // What is not there today may be tomorrow; without this, caches may keep a 404.
  c.header('Cache-Control', 'no-store');
  if (status === 401) c.header('WWW-Authenticate', 'Bearer realm="sigilwatch"');
  if (status === 429 || error.retryable) c.header('Retry-After', String(retryAfterSeconds(error)));
  return c.json(body, status);
}

/** What is answered when `thrown` is what came of a request. */
export function failureAnswer(thrown: unknown, requestId: string) {
  const error = databaseFailure(thrown) ?? toAppError(thrown);
  return { error, status: httpStatus(error.code), body: { ...told(error), request_id: requestId } };
}

/** Whole seconds, at least one. */
function retryAfterSeconds({ details }: AppError): number {
  const { retryAfterSeconds: seconds } = details;
  return typeof seconds === 'number' && seconds > 0 ? Math.ceil(seconds) : 1;
}

function told({ code, message, details }: AppError) {
  if (code === 'internal.error') return { error_code: code, message: 'internal error', details: {} };
  return { error_code: code, message, details: snakeCased(details) };
}
