import type { Context } from 'hono';
import type { z } from 'zod';
import { AppError } from '../../common/errors.ts';
import { nearest } from '../../common/nearest.ts';
import type { HttpEnv } from './env.ts';

/**
 * The query string, read strictly.
 * @throws AppError `validation.request` naming the parameter: unknown, given twice, or not what is accepted.
 */
export function readQuery<S extends z.ZodObject>(c: Context<HttpEnv>, schema: S): z.output<S> {
  return readGiven(schema, Object.entries(c.req.queries()));
}

function readGiven<S extends z.ZodObject>(schema: S, given: readonly (readonly [string, string[]])[]): z.output<S> {
  for (const [name, values] of given) {
    if (!Object.hasOwn(schema.shape, name)) throw unknownParameter(name, Object.keys(schema.shape));
    if (values.length > 1) throw badParameter(name, 'is given more than once');
  }
  const parsed = schema.safeParse(Object.fromEntries(given.map(([name, [value]]) => [name, value])));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badParameter(String(issue?.path[0] ?? ''), `is refused: ${issue?.message ?? 'not valid'}`);
}

/**
 * The parameters in the path.
 * @throws AppError `validation.request` naming the parameter.
 */
export function readParams<S extends z.ZodObject>(c: Context<HttpEnv>, schema: S): z.output<S> {
  const parsed = schema.safeParse(c.req.param());
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
