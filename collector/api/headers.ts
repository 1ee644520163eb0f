import type { Contract } from './contract.ts';
import type { JsonSchema } from './json-schema.ts';

/*
 * Headers of the API beside `Authorization`: the one place that the documentation has them from.
 */

interface Header {
  readonly name: string;
  readonly description: string;
  readonly schema: JsonSchema;
}

export interface RequestHeader extends Header {
  /** Which routes look at it. */
  readonly takenBy: (contract: Contract) => boolean;
}

export interface AnswerHeader extends Header {
  /** Statuses that it comes with; undefined for all. */
  readonly statuses?: readonly number[];
}

/** Set on every answer once the ledger is contradicted: the reason, escaped as in a URL. */
export const contradictedHeader = 'Sigilwatch-Contradicted';

export const idempotencyKeyHeader = 'Idempotency-Key';
export const replayedHeader = 'Idempotent-Replayed';

export const rateHeaders = {
  limit: 'RateLimit-Limit',
  remaining: 'RateLimit-Remaining',
  reset: 'RateLimit-Reset',
} as const;

/** All of them may be left out. */
export const requestHeaders: readonly RequestHeader[] = [
  {
    name: 'X-Request-ID',
    description:
      'a name for this request in answers and logs; one is made where there is none, or one with other characters',
    schema: { type: 'string', pattern: '^[A-Za-z0-9._-]{1,64}$' },
    takenBy: () => true,
  },
  {
    name: idempotencyKeyHeader,
    description:
      'a new text for each write: sent again with the same request within 24 hours it gets the same answer and has no second effect; with another request it is refused (409)',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
    takenBy: ({ idempotency }) => idempotency,
  },
];

export const answerHeaders: readonly AnswerHeader[] = [
  { name: 'X-Request-ID', description: 'the name of this request', schema: { type: 'string' } },
  {
    name: contradictedHeader,
    description: 'there once the database was found not to be the one that was published: why, escaped as in a URL',
    schema: { type: 'string' },
  },
  {
    name: 'WWW-Authenticate',
    description: 'how to show who you are',
    schema: { type: 'string', const: 'Bearer realm="sigilwatch"' },
    statuses: [401],
  },
  {
    name: 'Retry-After',
    description: 'seconds after which it may work',
    schema: { type: 'integer', minimum: 1 },
    statuses: [409, 429, 503],
  },
  {
    name: replayedHeader,
    description: 'there, as "true", when the answer is the one that was given under this Idempotency-Key before',
    schema: { type: 'string', const: 'true' },
  },
  {
    name: rateHeaders.limit,
    description: 'how many requests of this kind the caller may make within a minute; there where they are counted',
    schema: { type: 'integer', minimum: 1 },
  },
  { name: rateHeaders.remaining, description: 'how many of them are left', schema: { type: 'integer', minimum: 0 } },
  { name: rateHeaders.reset, description: 'seconds until there are more', schema: { type: 'integer', minimum: 1 } },
];
