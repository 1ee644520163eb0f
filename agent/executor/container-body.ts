import { orderLabel } from '../orders/replace.ts';
import { type Members, membersOf, parseJson } from './plain-json.ts';
import { type Refused, refused } from './refused.ts';
import { hostSideOfBody } from './wanted.ts';

/** A body that was looked at, written anew: of two members with one name only one is left, the one that was looked at. */
export interface CheckedBody<T> {
  readonly facts: T;
  readonly bytes: Buffer;
}

/** The engine takes names in any case and in alphabets that fold into ours, so nothing but these exact spellings is let through. */
const endpointMembers: ReadonlySet<string> = new Set([
  ...['IPAMConfig', 'Links', 'Aliases', 'DriverOpts', 'MacAddress', 'NetworkID', 'EndpointID', 'Gateway', 'IPAddress'],
  ...['IPPrefixLen', 'IPv6Gateway', 'GlobalIPv6Address', 'GlobalIPv6PrefixLen', 'DNSNames', 'GwPriority'],
]);

export interface CreateFacts {
  readonly order: string;
  readonly made: Members;
}

/** Body of `POST /containers/create`. What it says is held against what the order commits to: see `hostSideOfBody`. */
export function readCreateBody(bytes: Buffer): CheckedBody<CreateFacts> | Refused {
  const json = parseBody(bytes);
  const body = membersOf(json);
  const made = body === undefined ? undefined : hostSideOfBody(body);
  if (made === undefined) return refused('request.body', 'not the description of a container');
  const order = membersOf(body?.Labels)?.[orderLabel];
  if (typeof order !== 'string') return refused('request.body', `the label ${orderLabel} is needed`);
  return { facts: { order, made }, bytes: Buffer.from(JSON.stringify(json)) };
}

/** Body of `POST /networks/{name}/connect`. */
export function readConnectBody(
  bytes: Buffer,
): CheckedBody<{ readonly id: string; readonly endpoint: unknown }> | Refused {
  return readNetworkBody(bytes, ({ EndpointConfig: endpoint, Force }) => {
    const isRight = endpoint === undefined || endpoint === null || onlyMembers(endpoint, endpointMembers) !== undefined;
    return isRight && Force === undefined ? { endpoint } : undefined;
  });
}

/** Body of `POST /networks/{name}/disconnect`. */
export function readDisconnectBody(bytes: Buffer): CheckedBody<{ readonly id: string }> | Refused {
  return readNetworkBody(bytes, ({ EndpointConfig: endpoint, Force: force }) => {
    return endpoint === undefined && (force === undefined || typeof force === 'boolean') ? {} : undefined;
  });
}

const restartPolicies: ReadonlySet<unknown> = new Set(['no', 'always', 'unless-stopped', 'on-failure']);

/** Body of `POST /containers/{id}/update`: a restart policy and nothing else. */
export function readUpdateBody(bytes: Buffer): CheckedBody<object> | Refused {
  const json = parseBody(bytes);
  const policy = onlyMembers(onlyMembers(json, updateMembers)?.RestartPolicy, restartMembers);
  const { Name, MaximumRetryCount = 0 } = policy ?? {};
  if (!restartPolicies.has(Name) || !Number.isSafeInteger(MaximumRetryCount)) {
    return refused('request.body', 'not a restart policy, or more than that');
  }
  return { facts: {}, bytes: Buffer.from(JSON.stringify(json)) };
}

const updateMembers: ReadonlySet<string> = new Set(['RestartPolicy']);
const restartMembers: ReadonlySet<string> = new Set(['Name', 'MaximumRetryCount']);

const networkBodyMembers: ReadonlySet<string> = new Set(['Container', 'EndpointConfig', 'Force']);

/** @param factsOf what else is to be known of the body; undefined when it is not right */
function readNetworkBody<T extends object>(
  bytes: Buffer,
  factsOf: (body: Members) => T | undefined,
): CheckedBody<T & { readonly id: string }> | Refused {
  const json = parseBody(bytes);
  const body = onlyMembers(json, networkBodyMembers);
  const [id, facts] = [body?.Container, body === undefined ? undefined : factsOf(body)];
  if (facts === undefined || typeof id !== 'string' || !/^[0-9a-f]{64}$/.test(id)) {
    return refused('request.body', 'not a whole container id and what belongs to it');
  }
  return { facts: { ...facts, id }, bytes: Buffer.from(JSON.stringify(json)) };
}

/** Deeper than any description is, and far less than what would end a recursion. */
const maxDepth = 12;

function parseBody(bytes: Buffer): unknown {
  const text = bytes.toString('utf8');
  // Bytes that are no UTF-8 come out as others; what was checked and what is sent are the same text, but not the client's.
  if (!Buffer.from(text, 'utf8').equals(bytes)) return undefined;
  const json = parseJson(text);
  return isShallow(json, maxDepth) ? json : undefined;
}

function isShallow(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return depth > 0 && Object.values(value).every((member) => isShallow(member, depth - 1));
}

function onlyMembers(value: unknown, names: ReadonlySet<string>): Readonly<Record<string, unknown>> | undefined {
  const members = membersOf(value);
  return members !== undefined && Object.keys(members).every((name) => names.has(name)) ? members : undefined;
}
