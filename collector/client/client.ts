import { z } from 'zod';
import { AppError, errorCodes } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type Answers, type Contract, failure, isMedia, type Method, takesBody } from '../api/contract.ts';
import { contradictedHeader } from '../api/headers.ts';

/** One request, as it leaves. `target` is the path with its query. */
export interface Outgoing {
  readonly method: Uppercase<Method>;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

export interface Incoming {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly text: string;
}

/**
 * How requests get to a collector: over the network, or within the process.
 * @throws AppError `collector.unreachable` when there is no answer.
 */
export type Transport = (request: Outgoing) => Promise<Incoming>;

type Text = string | number | boolean | undefined;

/** Everything that is text in the end: numbers may be given as such. */
type Texts<Z extends z.ZodType> = { readonly [K in keyof z.input<Z>]: z.input<Z>[K] | Text };

/** Left out where a contract has none: those of an empty strict object are indexed by any text. */
type TextPart<Name extends string, Z extends z.ZodObject> = string extends keyof z.input<Z>
  ? object
  : object extends Texts<Z>
    ? { readonly [K in Name]?: Texts<Z> }
    : { readonly [K in Name]: Texts<Z> };

type BodyPart<B extends z.ZodType> = B extends z.ZodUndefined ? object : { readonly body: z.input<B> };

/** What a route is called with. */
export type CallOf<C> =
  C extends Contract<infer P, infer Q, infer B, Answers>
    ? TextPart<'params', P> & TextPart<'query', Q> & BodyPart<B>
    : never;

/** What comes back of a route that answers in JSON. */
export type AnswerOf<C> =
  C extends Contract<z.ZodObject, z.ZodObject, z.ZodType, infer A>
    ? { [S in keyof A]: A[S] extends z.ZodType ? z.output<A[S]> : never }[keyof A]
    : never;

/** What belongs to a single request, beside what the route wants. */
export interface CallOptions {
  /** The same key again has the same effect, once. */
  readonly idempotencyKey?: string;
}

/**
 * The API of a collector, by its contracts.
 * @throws AppError in all of them: with the collector's own code where it refuses; `collector.refused` for an answer that is
 *   not understood, `collector.unreachable` when there is none.
 */
export interface Client {
  /** An answer in JSON, checked against the contract. */
  call<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, A extends Answers>(
    contract: Contract<P, Q, B, A>,
    call: CallOf<Contract<P, Q, B, A>>,
    options?: CallOptions,
  ): Promise<AnswerOf<Contract<P, Q, B, A>>>;
  /** An answer that is text of some other kind. */
  text<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, A extends Answers>(
    contract: Contract<P, Q, B, A>,
    call: CallOf<Contract<P, Q, B, A>>,
  ): Promise<string>;
  /** Why what was told so far may be wrong: the collector's database is not the one that was published. */
  readonly contradicted: string | undefined;
}

interface LooseCall {
  readonly params?: Readonly<Record<string, unknown>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
}

/** @param credentials headers that say who asks. */
export function createClient(
  transport: Transport,
  credentials: () => Promise<Readonly<Record<string, string>>> = async () => ({}),
): Client {
  let contradicted: string | undefined;

  async function ask(contract: Contract, call: LooseCall, options: CallOptions = {}): Promise<Incoming> {
    const sent = outgoing(contract, call, { ...(await credentials()), ...headersOf(options) });
    const answer = await transport(sent);
    const reason = answer.header(contradictedHeader);
    if (reason !== undefined) contradicted = decodeURIComponent(reason);
    // Some refusals to be ready are answers all the same.
    if (contract.answers[answer.status] === undefined) throw refusalIn(answer);
    return answer;
  }

  return {
    call: async (contract, call, options) => {
      const answer = await ask(contract, call, options);
      return readAnswer(contract, answer);
    },
    text: async (contract, call) => (await ask(contract, call)).text,
    get contradicted() {
      return contradicted;
    },
  };
}

const verbs = { get: 'GET', post: 'POST', patch: 'PATCH', delete: 'DELETE' } as const satisfies Record<Method, string>;

/** A request as it leaves, by its contract. */
export function outgoing(
  contract: Contract,
  { params = {}, query = {}, body }: LooseCall,
  headers: Outgoing['headers'],
): Outgoing {
  const path = contract.path.replace(/:([a-z_]+)(\{.+?\})?/g, (_, name: string, pattern?: string) => {
    const given = String(params[name] ?? '');
    return pattern === undefined ? encodeURIComponent(given) : given;
  });
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
  const asked = search.toString();
  const json = takesBody(contract) ? { 'Content-Type': 'application/json' } : {};
  return {
    method: verbs[contract.method],
    target: asked === '' ? path : `${path}?${asked}`,
    headers: { Accept: 'application/json', ...json, ...headers },
    body: takesBody(contract) ? JSON.stringify(body) : undefined,
  };
}

function readAnswer<C extends Contract>(contract: C, answer: Incoming): AnswerOf<C>;
function readAnswer({ answers, operation }: Contract, answer: Incoming): unknown {
  const schema = answers[answer.status];
  if (schema === undefined || isMedia(schema)) throw notUnderstood(answer, 'not JSON');
  const parsed = schema.safeParse(parseJson(answer));
  if (parsed.success) return parsed.data;
  throw notUnderstood(answer, `${operation}: ${z.prettifyError(parsed.error)}`);
}

function headersOf({ idempotencyKey }: CallOptions): Readonly<Record<string, string>> {
  return idempotencyKey === undefined ? {} : { 'Idempotency-Key': idempotencyKey };
}

function parseJson(answer: Incoming): unknown {
  try {
    return JSON.parse(answer.text);
  } catch (cause) {
    throw notUnderstood(answer, 'not JSON', cause);
  }
}

function notUnderstood({ status, text }: Incoming, why: string, cause?: unknown): AppError {
  const shown = text.slice(0, limits.maxForeignTextChars);
  return new AppError('collector.refused', `the collector's answer (${status}) is not understood: ${why}`, {
    details: { status, answer: shown },
    ...(cause !== undefined && { cause }),
  });
}

/** What a proxy answers for a collector that does not. */
const proxyStatuses: ReadonlySet<number> = new Set([502, 503, 504]);

function notBehind({ status }: Incoming): AppError {
  const message = `no answer from the collector, says what stands before it (${status})`;
  return new AppError('collector.unreachable', message, { details: { status } });
}

/** What an answer says that is none of those promised: the collector's own word, where it has one. */
export function refusalIn(answer: Incoming): AppError {
  const told = failure.safeParse(readAnyway(answer.text));
  if (!told.success && proxyStatuses.has(answer.status)) return notBehind(answer);
  if (!told.success) return notUnderstood(answer, 'no collector answers so');
  const { error_code, message, details, request_id } = told.data;
  const code = errorCodes.find((known) => known === error_code) ?? 'collector.refused';
  return new AppError(code, message, { details: { ...details, request_id, status: answer.status } });
}

function readAnyway(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
