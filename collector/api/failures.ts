import { type Contract, takesBody } from './contract.ts';

/** How a request can fail, by status, as it is told to people. What is not here has the status of its family. */
export interface FailureClass {
  readonly status: number;
  /** Of the answer that all routes share in the documentation. */
  readonly name: string;
  readonly codes: readonly string[];
  readonly description: string;
  /** Which routes tell of it. */
  readonly toldBy: (contract: Contract, open: boolean) => boolean;
}

const everyone = () => true;

export const failureClasses: readonly FailureClass[] = [
  {
    status: 400,
    name: 'BadRequest',
    codes: ['validation.request'],
    description: 'not understood: details.parameter names what is wrong in the query or the path',
    toldBy: everyone,
  },
  {
    status: 401,
    name: 'Unauthorized',
    codes: ['auth.required', 'auth.token', 'auth.credentials', 'auth.signature'],
    description: 'not signed in, or by something that does not count any more',
    toldBy: (_, open) => !open,
  },
  {
    status: 403,
    name: 'Forbidden',
    codes: ['auth.forbidden'],
    description: 'signed in, and may not: details.permission is the one that is missing',
    toldBy: (_, open) => !open,
  },
  {
    status: 404,
    name: 'NotFound',
    codes: ['resource.not_found'],
    description: 'there is no such thing',
    toldBy: ({ params }) => Object.keys(params.shape).length > 0,
  },
  {
    status: 409,
    name: 'Conflict',
    codes: ['state.conflict', 'ledger.*'],
    description: 'not as things stand; the message says what stands against it',
    toldBy: ({ method }) => method !== 'get',
  },
  {
    status: 413,
    name: 'TooLarge',
    codes: ['validation.too_large'],
    description: 'the body is larger than details.limit_bytes',
    toldBy: takesBody,
  },
  {
    status: 422,
    name: 'Unprocessable',
    codes: ['validation.body'],
    description: 'the body is JSON, and not what is expected: details.fields names where',
    toldBy: takesBody,
  },
  {
    status: 429,
    name: 'TooMany',
    codes: ['rate_limit.exceeded'],
    description: 'too many requests; Retry-After says when to come again',
    toldBy: everyone,
  },
  {
    status: 500,
    name: 'Internal',
    codes: ['internal.error', 'ledger.tampered'],
    description: 'nothing that the caller could mend; the log has more under request_id',
    toldBy: everyone,
  },
  {
    status: 503,
    name: 'Unavailable',
    codes: ['database.unreachable', 'state.busy'],
    description: 'not at this moment; the same request may be sent again',
    toldBy: everyone,
  },
];
