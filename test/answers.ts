import assert from 'node:assert/strict';
import { type Answers, type Contract, failure, isMedia } from '../collector/api/contract.ts';
import { contracts } from '../collector/api/contracts.ts';

/*
 * Whether the API answers what it promises.
 */

/** A request and the JSON that came back. */
export interface Answered {
  readonly method: string;
  /** With or without a query. */
  readonly path: string;
  readonly status: number;
  readonly json: unknown;
}

/** The contract that stands for a place; undefined where there is no route. */
export function contractAt(method: string, path: string): Contract | undefined {
  const [place = ''] = path.split('?');
  const fits = (one: Contract) =>
    one.method === method.toLowerCase() && [one.path, ...one.aliases].some((pattern) => patternOf(pattern).test(place));
  // The one without parameters goes first, as for the router.
  return contracts.filter(fits).sort((a, b) => parameters(a) - parameters(b))[0];
}

function parameters({ params }: Contract): number {
  return Object.keys(params.shape).length;
}

function patternOf(path: string): RegExp {
  const source = path
    .split(/(:\w+(?:\{(?:[^{}]|\{[^{}]*\})*\})?)/)
    .map((part) => (part.startsWith(':') ? (/\{(.*)\}$/.exec(part)?.[1] ?? '[^/]+') : part.replaceAll('.', '\\.')));
  return new RegExp(`^${source.join('')}$`);
}

/**
 * The answer is what its contract says, with nothing left out and nothing more; a failure looks like every failure.
 * @returns the name of the operation when it was no failure.
 */
export function assertPromised({ method, path, status, json }: Answered): string | undefined {
  const contract = contractAt(method, path);
  const { answers }: { answers: Answers } = contract ?? { answers: {} };
  const promised = answers[status];
  const what = `${contract?.operation ?? 'no route'}: ${method} ${path} ${status}`;
  if (promised === undefined) {
    assert.ok(status >= 400, `${what} is not in the contract`);
    assertFits(failure, json, what);
    return undefined;
  }
  if (!isMedia(promised)) assertFits(promised, json, what);
  return contract?.operation;
}

function assertFits(
  schema: typeof failure | Exclude<Answers[number], { media: unknown }>,
  json: unknown,
  what: string,
) {
  const parsed = schema.safeParse(json);
  assert.ok(parsed.success, `${what}: ${parsed.error?.message}\n${JSON.stringify(json)}`);
  assert.deepEqual(json, parsed.data, `${what} says more than its schema`);
}

/** The same for an answer over HTTP, which can still be read. Only JSON is looked at. */
export async function assertPromisedBy(method: string, path: string, answer: Response): Promise<string | undefined> {
  if (!/^application\/json\b/.test(answer.headers.get('Content-Type') ?? '')) return undefined;
  const text = await answer.clone().text();
  // To HEAD there is nothing but the headers.
  if (method === 'HEAD' && text === '') return undefined;
  const json: unknown = JSON.parse(text);
  return assertPromised({ method, path, status: answer.status, json });
}
