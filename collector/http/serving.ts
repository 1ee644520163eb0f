import type { Context, MiddlewareHandler } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { z } from 'zod';
import type { Logger } from '../../common/log.ts';
import { type Answers, type Contract, keyNameInBody, takesBody } from '../api/contract.ts';
import { type Caller, requirePermission } from '../auth/caller.ts';
import { limitBody, readBody } from './body.ts';
import { inProcess } from './client-address.ts';
import type { HttpEnv, Routes } from './env.ts';
import type { IdempotencyStore } from './idempotency.ts';
import { readParams, readQuery } from './query.ts';
import { countRequest, type Rates } from './rates.ts';
import { answerOnce } from './repeated.ts';
import type { RequestAudit } from './request-audit.ts';

/** What a handler gets: everything is checked already. */
export interface Asked<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType> {
  readonly params: z.output<P>;
  readonly query: z.output<Q>;
  readonly body: z.output<B>;
  readonly caller: Caller;
  readonly requestId: string;
  /** Of the client, as far as proxies that are trusted tell; `local` within this process. */
  readonly address: string;
}

const statuses = [200, 201, 202, 503] as const satisfies readonly ContentfulStatusCode[];
type Status = (typeof statuses)[number];

/** A value that becomes `T` when it is written as JSON: times may still be dates. */
export type Told<T> = T extends string
  ? string extends T
    ? T | Date
    : T
  : T extends readonly (infer Item)[]
    ? readonly Told<Item>[]
    : T extends object
      ? { readonly [K in keyof T]: Told<T[K]> }
      : T;

type Body<Answer> = Answer extends z.ZodType ? Told<z.output<Answer>> : never;

/** For a route with one answer, its body. */
type OnlyAnswer<A extends Answers> = Body<A[keyof A]>;

/** For a route with several, which one. */
type OneOf<A extends Answers> = {
  [S in keyof A]: { readonly status: S & Status; readonly body: Body<A[S]> };
}[keyof A];

/** Who stands before every route. */
export interface Gate {
  /** Whoever shows nothing. */
  readonly visitor: Caller;
  /**
   * @param authorization the header, if there is one.
   * @throws AppError `auth.token`.
   */
  readonly authenticate: (authorization: string | undefined) => Promise<Caller>;
}

/** What else stands around the routes. */
export interface Around {
  /** Where answers are kept under the keys of callers; without it every request with a key is refused. */
  readonly idempotency?: IdempotencyStore;
  /** Counts requests; without it nothing is counted. */
  readonly rates?: Rates;
  /** Puts on record who asked for what. */
  readonly audit?: RequestAudit;
  readonly logger?: Logger;
}

/** Binds handlers to contracts. There is no other way to a route, so none is without its permission. */
export interface Serve {
  /** A route with one answer in JSON. */
  json<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, A extends Answers>(
    contract: Contract<P, Q, B, A>,
    handle: (asked: Asked<P, Q, B>) => Promise<OnlyAnswer<A>>,
  ): void;
  /** A route with several answers in JSON. */
  either<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, A extends Answers>(
    contract: Contract<P, Q, B, A>,
    handle: (asked: Asked<P, Q, B>) => Promise<OneOf<A>>,
  ): void;
  /** A route that writes its answer itself. */
  raw<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, A extends Answers>(
    contract: Contract<P, Q, B, A>,
    handle: (asked: Asked<P, Q, B>, c: Context<HttpEnv>) => Promise<Response>,
  ): void;
}

export function createServing(routes: Routes, gate: Gate, around: Around = {}): Serve {
  function bind<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, A extends Answers>(
    contract: Contract<P, Q, B, A>,
    answer: (asked: Asked<P, Q, B>, c: Context<HttpEnv>) => Promise<Response>,
  ): void {
    const before: MiddlewareHandler<HttpEnv>[] = [permitted(gate, contract, around)];
    if (takesBody(contract)) before.push(limitBody);
    for (const path of [contract.path, ...contract.aliases]) {
      routes.on(contract.method.toUpperCase(), [path], ...before, async (c) => {
        const asked = await read(c, contract);
        const act = async () => {
          await recordWrite(c, contract, around.audit);
          return answer(asked, c);
        };
        return answerOnce(c, { contract, asked, around, act });
      });
    }
  }
  return {
    json: (contract, handle) => {
      const status = onlyStatus(contract);
      bind(contract, async (asked, c) => jsonAnswer(c, await handle(asked), status));
    },
    either: (contract, handle) =>
      bind(contract, async (asked, c) => {
        const { status, body } = await handle(asked);
        return jsonAnswer(c, body, status);
      }),
    raw: bind,
  };
}

/** Lets nobody pass without the permission. What everybody may is not asked for a token, so a wrong one does no harm there. */
function permitted(
  { visitor, authenticate }: Gate,
  { permission, rate }: Contract,
  { rates, audit }: Around,
): MiddlewareHandler<HttpEnv> {
  const identify = async (c: Context<HttpEnv>) => {
    try {
      return await authenticate(c.req.header('Authorization'));
    } catch (refused) {
      // Whoever has a token that is not valid is nobody who is known.
      countRequest(c, rates, rate, visitor);
      throw refused;
    }
  };
  return async (c, next) => {
    const open = visitor.permissions.has(permission);
    const caller = open ? visitor : await identify(c);
    c.set('caller', caller);
    countRequest(c, rates, rate, caller);
    try {
      requirePermission(caller, permission);
    } catch (refused) {
      if (caller.role !== 'anonymous') await audit?.refused({ caller, requestId: c.get('requestId') }, permission);
      throw refused;
    }
    await next();
  };
}

/** Before anything is done. */
async function recordWrite(c: Context<HttpEnv>, contract: Contract, audit: RequestAudit | undefined): Promise<void> {
  if (contract.method === 'get' || contract.recordsItself) return;
  await audit?.wrote({ caller: c.get('caller'), requestId: c.get('requestId') }, contract.operation, c.req.path);
}

async function read<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType>(
  c: Context<HttpEnv>,
  contract: Contract<P, Q, B>,
): Promise<Asked<P, Q, B>> {
  const params = readParams(c, contract.params);
  const query = readQuery(c, contract.query);
  const body = takesBody(contract) ? await readBody(c, contract.body, contract.bodyIs) : contract.body.parse(undefined);
  // It is for `answerOnce`, which reads it from what was sent.
  if (contract.idempotency && typeof body === 'object' && body !== null) Reflect.deleteProperty(body, keyNameInBody);
  const address = c.get('address') ?? inProcess;
  return { params, query, body, caller: c.get('caller'), requestId: c.get('requestId'), address };
}

function onlyStatus({ operation, answers }: Contract): ContentfulStatusCode {
  const [status, another] = statusesOf(answers);
  if (status === undefined || another !== undefined) throw new Error(`${operation} has not one answer`);
  return status;
}

/** Those that handlers may answer with; failures are thrown. */
function statusesOf(answers: Answers): readonly ContentfulStatusCode[] {
  return statuses.filter((status) => Object.hasOwn(answers, status));
}

/** Not by `c.json`, whose types would look through every answer a second time. */
function jsonAnswer(c: Context<HttpEnv>, body: unknown, status: ContentfulStatusCode): Response {
  return c.body(JSON.stringify(body), status, { 'Content-Type': 'application/json; charset=UTF-8' });
}
