import { limits } from '../../common/limits.ts';
import { goodRepository, goodTag } from '../orders/good-tag.ts';
import type { Members } from './plain-json.ts';
import { type Query, type QueryRule, readQuery } from './query.ts';
import { type Refused, refused } from './refused.ts';
import type { RequestHead } from './request-head.ts';

/** What only reads, and needs no order. */
export type ReadCall = 'ping' | 'version' | 'events' | 'list' | 'inspect' | 'logs' | 'changes' | 'image' | 'network';

/**
 * Keeps an image from being pruned by a tag that nothing runs by, or lets go of it. Needs no order, since nothing that runs, or has
 * another name, can be harmed by it; it is held to a rate.
 */
export type TagCall = 'tag' | 'untag';

/** What changes something. `id` is a whole container id, 64 hex digits. */
export type OrderedCall =
  | { readonly call: 'kill' | 'stop' | 'start' | 'pause' | 'unpause' | 'remove' | 'update'; readonly id: string }
  | { readonly call: 'rename'; readonly id: string; readonly name: string }
  /** `made` is what is compared with what is wanted: see `hostSideOfBody`. */
  | { readonly call: 'create'; readonly name: string; readonly order: string; readonly made: Members }
  | { readonly call: 'connect'; readonly id: string; readonly network: string; readonly endpoint: unknown }
  | { readonly call: 'disconnect'; readonly id: string; readonly network: string }
  | { readonly call: 'load' };

/** An {@link OrderedCall} as far as the path tells; the rest of it stands in the body. */
export type AddressedCall =
  | Exclude<OrderedCall, { call: 'create' | 'connect' | 'disconnect' }>
  | { readonly call: 'create'; readonly name: string }
  | { readonly call: 'connect'; readonly network: string }
  | { readonly call: 'disconnect'; readonly network: string };

/** Counts of the executor itself; the engine is not asked. */
export interface OwnRoute {
  readonly kind: 'own';
}

export interface ReadRoute {
  readonly kind: 'read';
  readonly call: ReadCall;
  /** Written anew: no spelling of the client's reaches the engine. */
  readonly target: string;
}

export interface TagRoute {
  readonly kind: 'tag';
  readonly call: TagCall;
  readonly target: string;
}

export interface OrderedRoute {
  readonly kind: 'ordered';
  readonly call: AddressedCall;
  readonly target: string;
  readonly idleMs: number;
}

export type Route = OwnRoute | ReadRoute | TagRoute | OrderedRoute;

/** Where the executor tells its {@link OwnRoute}. */
export const countsPath = '/sigilwatch/counts';

interface Rule {
  readonly method: RequestHead['method'];
  readonly path: RegExp;
  readonly query: Readonly<Record<string, QueryRule>>;
  readonly route: (match: readonly string[], query: Query) => ReadCall | TagCall | AddressedCall | Refused;
}

const hexId = '([0-9a-f]{64})';
/** Whole image ids and references; no segment begins with a dot, so none leads elsewhere. */
const image = '(sha256:[0-9a-f]{64}|[A-Za-z0-9][A-Za-z0-9._:@-]*(?:/[A-Za-z0-9][A-Za-z0-9._:@-]*)*)';
const networkName = '([A-Za-z0-9][A-Za-z0-9_.-]{0,127})';

const flag: QueryRule = /^(true|false|1|0)$/;
const off: QueryRule = /^(false|0)$/;
const on: QueryRule = /^(true|1)$/;
const seconds: QueryRule = /^[0-9]{1,12}(\.[0-9]{1,9})?$/;
const containerName: QueryRule = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,511}$/;
const filters: QueryRule = isFilters;

/** All that is passed on. What is not here is refused: exec, attach, build, archives, volumes, swarm, and what comes next year. */
const rules: readonly Rule[] = [
  read('ping', /^\/_ping$/),
  read('version', /^\/version$/),
  read('events', /^\/events$/, { since: seconds, filters }),
  read('list', /^\/containers\/json$/, { all: flag, filters }),
  read('inspect', at(`/containers/${hexId}/json`)),
  // Never followed: a log without end would hold a connection, and nobody here reads one.
  read('logs', at(`/containers/${hexId}/logs`), {
    ...{ stdout: flag, stderr: flag, timestamps: flag, follow: off },
    ...{ tail: /^[0-9]{1,6}$/, since: seconds, until: seconds },
  }),
  read('changes', at(`/containers/${hexId}/changes`)),
  read('image', at(`/images/${image}/json`)),
  read('network', at(`/networks/${networkName}`)),
  onContainer('kill', { signal: /^(SIG)?(KILL|TERM)$/ }),
  onContainer('stop', { t: isStopGrace }),
  onContainer('start'),
  onContainer('pause'),
  onContainer('unpause'),
  // Nothing but whether it starts again by itself: see `readUpdateBody`.
  onContainer('update'),
  {
    method: 'POST',
    path: at(`/containers/${hexId}/rename`),
    query: { name: containerName },
    route: ([id = ''], query) => named(query, (name) => ({ call: 'rename', id, name })),
  },
  {
    method: 'DELETE',
    path: at(`/containers/${hexId}`),
    // Its volumes are data, and no order is about data.
    query: { force: flag, v: off },
    route: ([id = '']) => ({ call: 'remove', id }),
  },
  {
    method: 'POST',
    path: /^\/containers\/create$/,
    query: { name: containerName },
    route: (_, query) => named(query, (name) => ({ call: 'create', name })),
  },
  onNetwork('connect'),
  onNetwork('disconnect'),
  { method: 'POST', path: /^\/images\/load$/, query: { quiet: flag }, route: () => ({ call: 'load' }) },
  {
    method: 'POST',
    path: at('/images/(sha256:[0-9a-f]{64})/tag'),
    query: { repo: (repo) => repo === goodRepository, tag: /^[0-9a-f]{12}$/ },
    route: ([id = ''], { repo, tag }) => {
      if (repo !== undefined && tag === goodTag(id)) return 'tag';
      return refused('request.query', 'an image is kept by the first digits of its own id');
    },
  },
  {
    method: 'DELETE',
    path: at(`/images/${goodRepository}:[0-9a-f]{12}`),
    query: { force: off, noprune: on },
    route: (_, { noprune }) => (noprune === undefined ? refused('request.query', 'noprune is needed') : 'untag'),
  },
];

function read(call: ReadCall, path: RegExp, query: Rule['query'] = {}): Rule {
  return { method: 'GET', path, query, route: () => call };
}

function onContainer(
  call: 'kill' | 'stop' | 'start' | 'pause' | 'unpause' | 'update',
  query: Rule['query'] = {},
): Rule {
  return { method: 'POST', path: at(`/containers/${hexId}/${call}`), query, route: ([id = '']) => ({ call, id }) };
}

function onNetwork(call: 'connect' | 'disconnect'): Rule {
  const path = at(`/networks/${networkName}/${call}`);
  return { method: 'POST', path, query: {}, route: ([network = '']) => ({ call, network }) };
}

function at(path: string): RegExp {
  return new RegExp(`^${path}$`);
}

function named<C>({ name }: Query, call: (name: string) => C): C | Refused {
  return name === undefined ? refused('request.query', 'name is needed') : call(name);
}

/** `/v1.24` is where engines stopped taking the settings of a container with its start. */
const versionPrefix = /^\/v1\.(2[4-9]|[3-9][0-9])(?=\/)/;

/** The one rule that a request keeps to, whole: method, path, every parameter. */
export function routeOf({ method, target }: Pick<RequestHead, 'method' | 'target'>): Route | Refused {
  const [path = '', query, ...more] = target.split('?');
  if (more.length > 0) return refused('request.query', 'more than one question mark');
  if (method === 'GET' && target === countsPath) return { kind: 'own' };
  const [prefix = ''] = versionPrefix.exec(path) ?? [];
  const bare = path.slice(prefix.length);
  for (const rule of rules) {
    const match = rule.method === method ? rule.path.exec(bare) : null;
    if (match === null) continue;
    const parameters = readQuery(query, rule.query);
    if ('refused' in parameters) return parameters;
    const call = rule.route(match.slice(1), parameters.values);
    if (call === 'tag' || call === 'untag') return { kind: 'tag', call, target: path + parameters.text };
    if (typeof call === 'string') return { kind: 'read', call, target: path + parameters.text };
    if ('refused' in call) return call;
    return { kind: 'ordered', call, target: path + parameters.text, idleMs: idleMsOf(call) };
  }
  return refused('request.call', 'this call is not passed on to the engine');
}

function idleMsOf({ call }: AddressedCall): number {
  return ['load', 'create', 'stop', 'remove'].includes(call) ? limits.executorWorkIdleMs : limits.executorIdleMs;
}

function isStopGrace(text: string): boolean {
  return /^[0-9]{1,3}$/.test(text) && Number(text) <= limits.executorMaxStopSeconds;
}

/** `{"label":["a=b"],...}`, or with the values as the members of an object. */
function isFilters(text: string): boolean {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return false;
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return false;
  return Object.entries(json).every(([name, values]) => /^[a-z-]{1,32}$/.test(name) && isFilterValues(values));
}

function isFilterValues(values: unknown): boolean {
  if (Array.isArray(values)) return values.every((value) => typeof value === 'string');
  return typeof values === 'object' && values !== null && Object.values(values).every((v) => typeof v === 'boolean');
}
