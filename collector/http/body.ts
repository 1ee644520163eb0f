import type { Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { z } from 'zod';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { HttpEnv } from './env.ts';

/** For every route that takes a body. */
export const limitBody = bodyLimit({
  maxSize: limits.maxRequestBodyBytes,
  onError: () => {
    const limitBytes = limits.maxRequestBodyBytes;
    throw new AppError('validation.too_large', `the body is over ${limitBytes} bytes`, { details: { limitBytes } });
  },
});

/**
 * The body of a request, as JSON, read strictly.
 * @param what it should be, for messages.
 * @throws AppError `validation.request` for what is not JSON, `validation.body` naming the fields.
 */
export async function readBody<B extends z.ZodType>(
  c: Context<HttpEnv>,
  schema: B,
  what: string,
): Promise<z.output<B>> {
  const parsed = schema.safeParse(parseJson(await c.req.text()));
  if (parsed.success) return parsed.data;
  const fields = [...new Set(parsed.error.issues.map((issue) => issue.path.join('.') || '(body)'))];
  throw new AppError('validation.body', `not ${what}: ${z.prettifyError(parsed.error)}`, { details: { fields } });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new AppError('validation.request', 'the body is not JSON');
  }
}
