import { z } from 'zod';
import type { Permission } from '../auth/permissions.ts';

/*
 * What the API promises, route by route: one contract each, without any code behind it. The gate, the handlers' types, the
 * OpenAPI document and the client all follow from it.
 */

/** How requests are counted: against which of the limits, or against none where a route is bounded otherwise. */
export type RateClass = 'read' | 'write' | 'sign_in' | 'none';

export type Method = 'get' | 'post' | 'patch' | 'delete';

/** An answer that is not JSON. */
export interface Media {
  /** Content types, the usual one first. */
  readonly media: readonly string[];
  readonly description: string;
}

/** By HTTP status. Failures are the same everywhere ({@link failure}) and are not listed. */
export type Answers = Readonly<Record<number, z.ZodType | Media>>;

export const noFields = z.strictObject({});
type NoFields = typeof noFields;

export interface Contract<
  P extends z.ZodObject = z.ZodObject,
  Q extends z.ZodObject = z.ZodObject,
  B extends z.ZodType = z.ZodType,
  A extends Answers = Answers,
> {
  /** `orders.approve`: resource and verb; unique. */
  readonly operation: string;
  readonly method: Method;
  /** With parameters as `:name`. */
  readonly path: string;
  /** Other paths of the same, from an earlier API. */
  readonly aliases: readonly string[];
  readonly permission: Permission;
  /** One line for people. */
  readonly summary: string;
  readonly params: P;
  /** Texts as they come; members may be transformed. */
  readonly query: Q;
  /** `z.undefined()` for a route that takes none. */
  readonly body: B;
  /** What the body should be, for messages: "an order". */
  readonly bodyIs: string;
  readonly answers: A;
  /** Whether its answer is kept under the caller's `Idempotency-Key`. Not where the answer holds a secret. */
  readonly idempotency: boolean;
  readonly rate: RateClass;
  /** Whether its handler puts on record who does what, by which request; of other writes the gate does, before they are carried out. */
  readonly recordsItself: boolean;
}

interface Spec<P, Q, B, A> {
  readonly operation: string;
  readonly method: Method;
  readonly path: string;
  readonly aliases?: readonly string[];
  readonly permission: Permission;
  readonly summary: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly bodyIs?: string;
  readonly answers: A;
  /** Every write with answers in JSON unless said otherwise. */
  readonly idempotency?: boolean;
  /** `read` for GET and `write` for all others unless said otherwise. */
  readonly rate?: RateClass;
  /** False unless said otherwise, so that no write is without a record. */
  readonly recordsItself?: boolean;
}

/** Every `:name` in a path is a short text unless `params` says more. PostgreSQL has no U+0000. */
export const pathText = z
  .string()
  .min(1)
  .max(200)
  .refine((text) => !text.includes('\0'), 'text without NUL');

/** The member of a body that names its key. */
export const keyNameInBody = 'request_id';

/** What every body may name its key by, where answers are kept. Handlers do not see it. */
const keyInBody = {
  [keyNameInBody]: z.string().optional().describe('taken for the Idempotency-Key where there is no such header'),
};

export function contract<
  const A extends Answers,
  P extends z.ZodObject = NoFields,
  Q extends z.ZodObject = NoFields,
  B extends z.ZodType = z.ZodUndefined,
>(spec: Spec<P, Q, B, A>): Contract<P, Q, B, A>;
export function contract(spec: Spec<z.ZodObject, z.ZodObject, z.ZodType, Answers>): Contract {
  const { aliases = [], params = noFields, query = noFields, body = z.undefined(), bodyIs = 'what is expected' } = spec;
  const inJson = !Object.values(spec.answers).some(isMedia);
  const reads = spec.method === 'get';
  const { idempotency = !reads && inJson, rate = reads ? 'read' : 'write', recordsItself = false } = spec;
  const taken = idempotency && body instanceof z.ZodObject ? body.extend(keyInBody) : body;
  return { ...spec, aliases, params, query, body: taken, bodyIs, idempotency, rate, recordsItself };
}

/** Whether the route takes a body. */
export function takesBody({ body }: Pick<Contract, 'body'>): boolean {
  return !(body instanceof z.ZodUndefined);
}

export function isMedia(answer: z.ZodType | Media): answer is Media {
  return !(answer instanceof z.ZodType);
}

/** What every failure looks like. */
export const failure = z
  .object({
    error_code: z.string().describe('a closed set of words, family and cause: auth.required, validation.request ...'),
    message: z.string().describe('for people; says what to do'),
    details: z.record(z.string(), z.unknown()).describe('facts beside the message'),
    request_id: z.string().describe('as in X-Request-ID and in the logs'),
  })
  .meta({ id: 'Failure' });

export type Failure = z.output<typeof failure>;

/** One page of a list. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({
    items: z.array(item),
    next_cursor: z.string().nullable().describe('for the parameter "cursor"; null on the last page'),
  });
}

/** A time as it is told: RFC 3339, UTC, milliseconds. */
export const moment = z.iso.datetime();

/** What tells of the fleet or the ledger as a whole may say why it is not to be believed. */
export const contradictable = {
  contradicted: z
    .string()
    .optional()
    .describe('there once the database was found not to be the one that was published: why'),
};
