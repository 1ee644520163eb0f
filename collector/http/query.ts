import type { Context } from 'hono';
import { z } from 'zod';
import { rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { nearest } from '../../common/nearest.ts';
import type { HttpEnv } from './env.ts';

/** Texts to compare with columns; PostgreSQL has no U+0000. */
export const filterText = z
  .string()
  .min(1)
  .max(limits.maxForeignTextChars)
  .refine((text) => !text.includes('\0'), 'text without NUL');

const lastMs = Date.parse('9999-12-31T23:59:59.999Z');

/** Handed on in our own spelling: PostgreSQL is stricter with fractions and offsets than RFC 3339. */
export const filterTime = z.iso
  .datetime({ offset: true, error: 'an RFC 3339 time such as 2026-01-31T12:00:00Z' })
  .transform((text) => Date.parse(text))
  .refine((unixMs) => unixMs >= 0 && unixMs <= lastMs, 'a time from 1970 to 9999')
  .transform(rfc3339);

const pageSize = z
  .string()
  .regex(/^[0-9]{1,9}$/, 'a whole number')
  .transform(Number)
  .pipe(z.number().min(1).max(limits.pageSizeMax))
  .default(limits.pageSizeDefault);

/** Parameters every list takes, beside its filters. */
export const pageParameters = { limit: pageSize, cursor: z.string().max(2_048).optional() };

/**
 * The query string, read strictly.
 * @throws AppError `validation.request` naming the parameter: unknown, given twice, or not what is accepted.
 */
export function readQuery<S extends z.ZodObject>(c: Context<HttpEnv>, schema: S): z.output<S> {
  const given = Object.entries(c.req.queries());
  for (const [name, values] of given) {
    if (!Object.hasOwn(schema.shape, name)) throw unknownParameter(name, Object.keys(schema.shape));
    if (values.length > 1) throw badParameter(name, 'is given more than once');
  }
  const parsed = schema.safeParse(Object.fromEntries(given.map(([name, [value]]) => [name, value])));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badParameter(String(issue?.path[0] ?? ''), `is refused: ${issue?.message ?? 'not valid'}`);
}

function unknownParameter(parameter: string, known: readonly string[]): AppError {
  const meant = nearest(parameter, known);
  const hint = meant === undefined ? `accepted: ${known.join(', ') || 'none'}` : `did you mean "${meant}"?`;
  return new AppError('validation.request', `unknown parameter "${shown(parameter)}"; ${hint}`, {
    details: { parameter: shown(parameter), accepted: known },
  });
}

export function badParameter(parameter: string, why: string): AppError {
  return new AppError('validation.request', `parameter "${parameter}" ${why}`, { details: { parameter } });
}

function shown(text: string): string {
  return text.slice(0, 64);
}
