import { orderLabel } from '../orders/replace.ts';
import { membersOf, parseJson } from './plain-json.ts';
import { type Refused, refused } from './refused.ts';

/** A body that was looked at, written anew: of two members with one name only one is left, the one that was looked at. */
export interface CheckedBody<T> {
  readonly facts: T;
  readonly bytes: Buffer;
}

/**
 * Members that a container's description may have. The engine takes names in any case and in alphabets that fold into ours,
 * so nothing but these exact spellings is let through.
 */
const createMembers: ReadonlySet<string> = new Set([
  ...['Hostname', 'Domainname', 'User', 'ExposedPorts', 'Tty', 'OpenStdin', 'Env', 'Cmd', 'Entrypoint', 'Healthcheck'],
  ...['Image', 'Volumes', 'WorkingDir', 'Labels', 'StopSignal', 'StopTimeout', 'HostConfig', 'NetworkingConfig'],
]);

/**
 * What a manifest can say of a container's host side. Devices, other containers' volumes, the namespaces and security profiles
 * of the host are not in it.
 */
const hostMembers: ReadonlySet<string> = new Set([
  ...[
    'Binds',
    'Mounts',
    'Tmpfs',
    'PortBindings',
    'PublishAllPorts',
    'RestartPolicy',
    'CapAdd',
    'CapDrop',
    'Privileged',
  ],
  ...['NetworkMode', 'Memory', 'MemorySwap', 'MemoryReservation', 'NanoCpus', 'CpuShares', 'LogConfig', 'Init'],
  ...['ReadonlyRootfs', 'ShmSize', 'Ulimits', 'Dns', 'DnsOptions', 'DnsSearch', 'ExtraHosts'],
]);

const networkingMembers: ReadonlySet<string> = new Set(['EndpointsConfig']);
const endpointMembers: ReadonlySet<string> = new Set([
  ...['IPAMConfig', 'Links', 'Aliases', 'DriverOpts', 'MacAddress', 'NetworkID', 'EndpointID', 'Gateway', 'IPAddress'],
  ...['IPPrefixLen', 'IPv6Gateway', 'GlobalIPv6Address', 'GlobalIPv6PrefixLen', 'DNSNames', 'GwPriority'],
]);

/** Body of `POST /containers/create`. What it says of mounts and privileges is for the agent to hold against the manifest. */
export function readCreateBody(bytes: Buffer): CheckedBody<{ readonly order: string }> | Refused {
  const json = parseBody(bytes);
  const body = onlyMembers(json, createMembers);
  if (body === undefined) return refused('request.body', 'the container is described with members that are not taken');
  if (body.HostConfig !== undefined && onlyMembers(body.HostConfig, hostMembers) === undefined) {
    return refused('request.body', 'HostConfig has members that are not taken');
  }
  if (body.NetworkingConfig !== undefined && !isNetworking(body.NetworkingConfig)) {
    return refused('request.body', 'NetworkingConfig has members that are not taken');
  }
  const labels = membersOf(body.Labels);
  const order = labels !== undefined && Object.hasOwn(labels, orderLabel) ? labels[orderLabel] : undefined;
  if (typeof order !== 'string') return refused('request.body', `the label ${orderLabel} is needed`);
  return { facts: { order }, bytes: Buffer.from(JSON.stringify(json)) };
}

/** Body of `POST /networks/{name}/connect`. */
export function readConnectBody(bytes: Buffer): CheckedBody<{ readonly id: string }> | Refused {
  return readNetworkBody(bytes, ({ EndpointConfig: endpoint }) => {
    return endpoint === undefined || endpoint === null || onlyMembers(endpoint, endpointMembers) !== undefined;
  });
}

/** Body of `POST /networks/{name}/disconnect`. */
export function readDisconnectBody(bytes: Buffer): CheckedBody<{ readonly id: string }> | Refused {
  return readNetworkBody(bytes, ({ Force: force }) => force === undefined || typeof force === 'boolean');
}

const networkBodyMembers: ReadonlySet<string> = new Set(['Container', 'EndpointConfig', 'Force']);

function readNetworkBody(
  bytes: Buffer,
  isRight: (body: Readonly<Record<string, unknown>>) => boolean,
): CheckedBody<{ readonly id: string }> | Refused {
  const json = parseBody(bytes);
  const body = onlyMembers(json, networkBodyMembers);
  const id = body?.Container;
  if (body === undefined || typeof id !== 'string' || !/^[0-9a-f]{64}$/.test(id) || !isRight(body)) {
    return refused('request.body', 'not a whole container id and what belongs to it');
  }
  return { facts: { id }, bytes: Buffer.from(JSON.stringify(json)) };
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

function isNetworking(value: unknown): boolean {
  const networking = onlyMembers(value, networkingMembers);
  const endpoints = membersOf(networking?.EndpointsConfig ?? {});
  if (networking === undefined || endpoints === undefined) return false;
  return Object.values(endpoints).every((one) => one === null || onlyMembers(one, endpointMembers) !== undefined);
}

function onlyMembers(value: unknown, names: ReadonlySet<string>): Readonly<Record<string, unknown>> | undefined {
  const members = membersOf(value);
  return members !== undefined && Object.keys(members).every((name) => names.has(name)) ? members : undefined;
}
