import fc from 'fast-check';
import type { z } from 'zod';
import { type Contract, takesBody } from '../../collector/api/contract.ts';
import { type Known, valuesOf } from './from-schema.ts';
import { allEscaped, escaped, type HttpRequest, inTarget } from './request.ts';
import { badUtf8, wickedJson, wickedText } from './wicked.ts';

/*
 * Requests made from the contracts: such as they accept, and such with one thing wrong.
 */

/** Lists that hand out cursors, by the name that is in them. */
const lists = [
  'integrity-reports',
  'containers',
  'entries',
  'the fleet',
  'drifts',
  'nodes',
  'alerts',
  'orders',
  'findings',
];

/** Cursors are no secret: anybody can write one. */
const cursors = fc
  .tuple(
    fc.constantFrom(...lists),
    fc.oneof(wickedJson, fc.constantFrom('0', '5', '[9,"lyra"]', '["lyra","00"]', '"lyra"')),
  )
  .map(([list, key]) => Buffer.from(`["${list}",${key}]`.slice(0, 1_500)).toString('base64url'));

export function requestsOf(contract: Contract, known: Known): fc.Arbitrary<HttpRequest> {
  const good = acceptable(contract, known);
  const twists = [twistQuery(contract), twistPath(contract), twistHead];
  const bodies = takesBody(contract) ? [twistBody, twistBody, twistBody] : [strayBody];
  const twisted = fc.tuple(good, fc.oneof(...[...twists, ...bodies])).map(([request, twist]) => twist(request));
  return fc.oneof({ weight: 1, arbitrary: good }, { weight: 4, arbitrary: twisted });
}

type Twist = (request: HttpRequest) => HttpRequest;

function acceptable({ method, path, params, query, body }: Contract, known: Known): fc.Arbitrary<HttpRequest> {
  return fc
    .record({
      place: texts(params, known).map((given) => filled(path, given)),
      query: texts(query, known).map((given) =>
        Object.entries(given).map(([name, text]) => `${name}=${escaped(text)}`),
      ),
      body: takesBody({ body })
        ? valuesOf(body, known).map((value) => Buffer.from(JSON.stringify(value) ?? ''))
        : fc.constant(undefined),
    })
    .map(({ place, ...rest }) => ({ method: method.toUpperCase(), path: place, headers: [], ...rest }));
}

/** Parameters are written as texts, whatever they become. */
function texts(schema: z.ZodObject, known: Known): fc.Arbitrary<Record<string, string>> {
  return valuesOf(schema, known).map((value) =>
    Object.fromEntries(Object.entries(Object(value)).map(([name, member]) => [name, String(member)])),
  );
}

const parameter = /:([a-z_]+)(\{.+?\})?/g;

function filled(path: string, params: Readonly<Record<string, string>>): string {
  return path.replace(parameter, (_, name: string, pattern?: string) => {
    const text = params[name] ?? '';
    return pattern === undefined ? escaped(text) : text.replace(/[\s?#]/g, '');
  });
}

function twistPath({ path }: Contract): fc.Arbitrary<Twist> {
  const spellings: ((at: string) => string)[] = [
    (at) => `${at}/`,
    (at) => `/${at}`,
    (at) => at.replace('/api', '/./api'),
    (at) => at.replace('/api/', '/api/x/../'),
    (at) => at.replace('/api/', '/api/%2e%2e/api/'),
    (at) => at.toUpperCase(),
    (at) => allEscaped(at).replace(/^%2f/, '/'),
    (at) => `${at};x=1`,
    (at) => `${at}%00`,
    (at) => at.replaceAll('/', '%2f').replace('%2f', '/'),
    (at) => at.replaceAll('/', '\\').replace('\\', '/'),
    (at) => `http://127.0.0.1${at}`,
    (at) => `${at}/%c0%af/%ff`,
  ];
  const misspelt = fc.constantFrom(...spellings).map(
    (spell): Twist =>
      (r) => ({ ...r, path: spell(r.path) }),
  );
  if (!path.includes(':')) return misspelt;
  const wicked = inTarget(wickedText).map(
    (text): Twist =>
      (r) => ({ ...r, path: path.replace(parameter, () => text) }),
  );
  return fc.oneof(wicked, wicked, misspelt);
}

function twistQuery({ query }: Contract): fc.Arbitrary<Twist> {
  const names = [...Object.keys(query.shape), 'x', '__proto__', 'constructor', ''];
  const name = fc.constantFrom(...names);
  const more = (added: fc.Arbitrary<readonly string[]>): fc.Arbitrary<Twist> =>
    added.map((parts) => (r) => ({ ...r, query: [...r.query.filter((kept) => !sameName(kept, parts[0])), ...parts] }));
  const wicked = more(fc.tuple(name, inTarget(wickedText)).map(([key, text]) => [`${key}=${text}`]));
  const doubled = more(fc.tuple(name, inTarget(wickedText)).map(([key, text]) => [`${key}=${text}`, `${key}=${text}`]));
  const nested = more(
    fc.tuple(name, inTarget(wickedText)).map(([key, text]) => [`${key}[a]=${text}`, `${key}%5B%5D=1`]),
  );
  const many = more(fc.constant(Array.from({ length: 1_000 }, (_, i) => `p${i}=1`)));
  const odd = more(fc.constantFrom(['%=1'], ['=%zz'], ['&&&'], ['a%00b=%ff'], ['limit'], ['limit='], ['limit=%31']));
  const forged = more(cursors.map((cursor) => [`cursor=${cursor}`]));
  return 'cursor' in query.shape
    ? fc.oneof(wicked, wicked, doubled, nested, many, odd, forged, forged)
    : fc.oneof(wicked, doubled, nested, many, odd);
}

const sameName = (part: string, other = '') => part.split('=')[0] === other.split('=')[0];

const twistHead: fc.Arbitrary<Twist> = fc
  .oneof(
    fc.tuple(
      fc.constantFrom(
        'X-Request-ID',
        'Accept',
        'Accept-Encoding',
        'Content-Type',
        'Last-Event-ID',
        'If-None-Match',
        'Range',
        'Origin',
        'Cookie',
        'Idempotency-Key',
        'X-Forwarded-For',
      ),
      wickedText.map((text) => text.replace(/[\r\n\0]/g, '').slice(0, 8_000)),
    ),
    fc.constantFrom<[string, string]>(
      ['Content-Encoding', 'gzip'],
      ['Expect', '100-continue'],
      ['Expect', 'anything'],
      ['X-HTTP-Method-Override', 'DELETE'],
      ['Range', 'bytes=0-0,1-1,2-2'],
      ['If-Modified-Since', 'Thu, 01 Jan 1970 00:00:00 GMT'],
      ['Host', 'evil.example'],
      ['Forwarded', 'for="[::1]";proto=https'],
      ['Authorization', 'Bearer x'],
      ['Authorization', 'Basic QTpC'],
      ['Upgrade', 'h2c'],
      ['Transfer-Encoding', 'gzip, chunked'],
    ),
  )
  .map(([name, value]) => (r) => ({ ...r, headers: [...r.headers, `${name}: ${value}`] }));

const strayBody: fc.Arbitrary<Twist> = wickedJson.map((text) => (r) => ({ ...r, body: Buffer.from(text) }));

/** One value of it replaced, one member more, or all of it; and bytes that no text has. */
const twistBody: fc.Arbitrary<Twist> = fc
  .tuple(
    fc.nat(),
    wickedJson,
    fc.constantFrom('replace', 'replace', 'replace', 'add', 'double', 'whole', 'bytes', 'cut', 'drop'),
    fc.constantFrom(...badUtf8),
  )
  .map(([at, text, how, bytes]) => (r) => {
    const body = r.body?.toString('utf8') ?? '{}';
    return { ...r, body: twistedBody(body, { at, text, how, bytes }) };
  });

interface HowTwisted {
  readonly at: number;
  readonly text: string;
  readonly how: string;
  readonly bytes: Buffer;
}

function twistedBody(body: string, { at, text, how, bytes }: HowTwisted): Buffer {
  const members = memberTexts(body);
  const chosen = members[at % Math.max(members.length, 1)];
  const written = (changed: readonly (readonly [string, string])[]) =>
    Buffer.from(`{${changed.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`);
  switch (how) {
    case 'replace':
      return written(members.map((member) => (member === chosen ? [member[0], text] : member)));
    case 'add':
      return written([...members, [['__proto__', 'constructor', 'x', 'admin'][at % 4] ?? 'x', text]]);
    case 'double':
      return written([...members, ...(chosen === undefined ? [] : ([[chosen[0], text]] as const))]);
    case 'drop':
      return written(members.filter((member) => member !== chosen));
    case 'cut':
      return Buffer.from(body).subarray(0, at % (body.length + 1));
    case 'bytes': {
      const middle = at % (body.length + 1);
      return Buffer.concat([Buffer.from(body.slice(0, middle)), bytes, Buffer.from(body.slice(middle))]);
    }
    default:
      return Buffer.from(text);
  }
}

/** The members of an object with their values as JSON; none for anything else. */
function memberTexts(body: string): (readonly [string, string])[] {
  const value: unknown = JSON.parse(body === '' ? '{}' : body);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).map(([name, member]) => [name, JSON.stringify(member)] as const);
}
