import type { WantedConfig, WantedHealthcheck, WantedNetwork, WantedTmpfs } from './container-config.ts';
import type { DesiredContainer } from './desired.ts';
import { AppError } from './errors.ts';

/**
 * From a container that is wanted to what the engine makes it of. Pure. What the manifest does not say is left out, so that it is
 * the image's, then the engine's. Source: Docker Engine API v1.41, `ContainerCreate` and `NetworkConnect`.
 */

/** How a container is attached to a network: what somebody may decide, without what the engine fills in. */
export interface Endpoint {
  readonly Aliases?: readonly string[];
  readonly Links?: readonly string[];
  readonly IPAMConfig?: Readonly<Record<string, string | readonly string[]>>;
  readonly DriverOpts?: Readonly<Record<string, string>>;
}

interface PortBinding {
  readonly HostIp: string;
  readonly HostPort: string;
}

/** Times in nanoseconds. */
interface Healthcheck {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

interface HostConfig {
  readonly PortBindings?: Readonly<Record<string, readonly PortBinding[]>>;
  readonly Binds?: readonly string[];
  readonly Mounts?: readonly VolumeMount[];
  readonly Tmpfs?: Readonly<Record<string, string>>;
  readonly RestartPolicy?: { readonly Name: string; readonly MaximumRetryCount?: number };
  readonly CapAdd?: readonly string[];
  readonly CapDrop?: readonly string[];
  readonly Privileged?: boolean;
  readonly NetworkMode?: string;
  readonly Memory?: number;
  readonly NanoCpus?: number;
}

interface VolumeMount {
  readonly Type: 'volume';
  readonly Target: string;
  readonly ReadOnly: boolean;
  readonly VolumeOptions?: { readonly NoCopy: true };
}

/** The body of `POST /containers/create`. */
export interface CreateBody {
  readonly Image: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly Cmd?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly ExposedPorts?: Readonly<Record<string, object>>;
  readonly Healthcheck?: Healthcheck;
  readonly HostConfig: HostConfig;
  readonly NetworkingConfig?: { readonly EndpointsConfig: Readonly<Record<string, Endpoint>> };
}

export interface ContainerSpec {
  readonly body: CreateBody;
  /** An engine makes a container with one network; it is to be connected to these before it is started. */
  readonly connectTo: readonly { readonly network: string; readonly endpoint: Endpoint }[];
}

export interface SpecOptions {
  /** Put on the container beside those that the manifest wants, which win. */
  readonly labels: Readonly<Record<string, string>>;
  /**
   * Mounts of the container that is replaced, in the spelling of `ContainerConfig`. A relative source, whose folder git does not say,
   * is taken from there.
   */
  readonly mounted?: readonly string[];
}

/**
 * What to make `desired` of. A pinned image is named by its id, whatever its reference stands for.
 * @throws AppError `validation.manifest` for a mount whose source depends on where compose was run, when `options.mounted` does
 *   not have it either
 */
export function containerSpec(desired: DesiredContainer, { labels, mounted = [] }: SpecOptions): ContainerSpec {
  return specOf(desired, labels, (volume) => withSource(volume, mounted));
}

function specOf(
  desired: DesiredContainer,
  labels: SpecOptions['labels'],
  sourced: (volume: string) => string,
): ContainerSpec {
  const { config, creation } = desired;
  const [first, ...others] = creation.networks ?? [];
  const { command, entrypoint, environment, user } = config;
  const body: CreateBody = {
    Image: desired.imageId ?? desired.image,
    Labels: { ...labels, ...config.labels },
    ...(command === undefined ? {} : { Cmd: command }),
    ...(entrypoint === undefined ? {} : { Entrypoint: entrypoint }),
    ...(environment === undefined ? {} : { Env: Object.entries(environment).map((pair) => pair.join('=')) }),
    ...(user === undefined ? {} : { User: user }),
    ...(config.ports === undefined ? {} : { ExposedPorts: exposed(config.ports) }),
    ...(creation.healthcheck === undefined ? {} : { Healthcheck: healthcheckOf(creation.healthcheck) }),
    HostConfig: {
      ...networkOf(config, first),
      ...(config.ports === undefined ? {} : { PortBindings: bindings(config.ports) }),
      ...mountsOf(volumesOf(desired).map(sourced)),
      ...memoryOf(creation.tmpfs ?? []),
      ...powersAndLimits(config),
    },
    ...(first === undefined ? {} : { NetworkingConfig: { EndpointsConfig: { [first.name]: endpointOf(first) } } }),
  };
  return { body, connectTo: others.map((network) => ({ network: network.name, endpoint: endpointOf(network) })) };
}

/**
 * All of a wanted container that reaches beyond it: image, privileges, mounts, ports, networks, limits, user; of its variables and
 * labels the names. What may hold a secret is left out: the values of these, the command, the health check. Relative sources of
 * mounts stay as the manifest has them.
 */
export interface HostSide extends Omit<CreateBody, 'Labels' | 'Cmd' | 'Entrypoint' | 'Env' | 'Healthcheck'> {
  readonly Env: readonly string[];
  readonly Labels: readonly string[];
  readonly ConnectTo: ContainerSpec['connectTo'];
}

export function hostSideOf(desired: DesiredContainer): HostSide {
  const { body, connectTo } = specOf(desired, {}, (volume) => volume);
  const { Cmd: _cmd, Entrypoint: _entrypoint, Healthcheck: _healthcheck, Env, Labels, ...rest } = body;
  return { ...rest, Env: namesOf(Env ?? []), Labels: committedLabels(Object.keys(Labels)), ConnectTo: connectTo };
}

/**
 * Names of labels, sorted, but for those by which compose finds its containers again: they are the replaced container's, and git does
 * not say them.
 */
export function committedLabels(names: readonly string[]): readonly string[] {
  return names.filter((name) => !name.startsWith('com.docker.compose.')).sort();
}

/** Of `NAME=value`, sorted. */
export function namesOf(environment: readonly string[]): readonly string[] {
  return environment
    .map((variable) => variable.slice(0, (variable.indexOf('=') + 1 || variable.length + 1) - 1))
    .sort();
}

function networkOf({ network_mode }: WantedConfig, first: WantedNetwork | undefined): HostConfig {
  const mode = network_mode ?? first?.name;
  return mode === undefined ? {} : { NetworkMode: mode };
}

function endpointOf({ aliases, ipv4_address, ipv6_address }: WantedNetwork): Endpoint {
  const addresses = {
    ...(ipv4_address === undefined ? {} : { IPv4Address: ipv4_address }),
    ...(ipv6_address === undefined ? {} : { IPv6Address: ipv6_address }),
  };
  return {
    ...(aliases.length === 0 ? {} : { Aliases: aliases }),
    ...(Object.keys(addresses).length === 0 ? {} : { IPAMConfig: addresses }),
  };
}

/** The parts of a port in the spelling of `ContainerConfig`. */
function portParts(port: string): { readonly container: string; readonly binding: PortBinding } {
  const [, ip = '', hostPort = '', container = ''] = /^(?:(\[[^\]]*\]|[^:[\]]*):)?([^:]*)->(.*)$/.exec(port) ?? [];
  return { container, binding: { HostIp: ip.replace(/[[\]]/g, ''), HostPort: hostPort } };
}

function exposed(ports: readonly string[]): Readonly<Record<string, object>> {
  return Object.fromEntries(ports.map((port) => [portParts(port).container, {}]));
}

function bindings(ports: readonly string[]): Readonly<Record<string, readonly PortBinding[]>> {
  const byPort = new Map<string, PortBinding[]>();
  for (const { container, binding } of ports.map(portParts)) {
    byPort.set(container, [...(byPort.get(container) ?? []), binding]);
  }
  return Object.fromEntries(byPort);
}

/** Volumes with what is said of how they are mounted: `source:target:mode[,option...]`. */
function volumesOf({ config, creation }: DesiredContainer): readonly string[] {
  const optionsAt = new Map(Object.entries(creation.mount_options ?? {}));
  return (config.volumes ?? []).map((volume) => {
    const options = optionsAt.get(volume.split(':').at(-2) ?? '');
    return options === undefined ? volume : `${volume},${options}`;
  });
}

/** Binds, not mounts of their type, for what has a source: the engine makes a folder that is missing, as it does for compose. */
function mountsOf(volumes: readonly string[]): HostConfig {
  const binds = volumes.filter((volume) => !volume.startsWith(':'));
  const anonymous = volumes.filter((volume) => volume.startsWith(':')).map(anonymousVolume);
  return {
    ...(binds.length === 0 ? {} : { Binds: binds }),
    ...(anonymous.length === 0 ? {} : { Mounts: anonymous }),
  };
}

function anonymousVolume(volume: string): VolumeMount {
  const [, target = '', mode = ''] = volume.split(':');
  const options = mode.split(',');
  return {
    ...{ Type: 'volume', Target: target, ReadOnly: options.includes('ro') },
    ...(options.includes('nocopy') ? { VolumeOptions: { NoCopy: true } } : {}),
  };
}

/** Whether the source of a mount depends on where compose was run, which git does not say. */
export function isUnsourced(volume: string): boolean {
  return /^[.~]/.test(volume);
}

/**
 * A mount with its source, which for an unsourced one is that of the mount on the same target in the same mode.
 * @throws AppError `validation.manifest` when there is none
 */
export function withSource(volume: string, mounted: readonly string[]): string {
  if (!isUnsourced(volume)) return volume;
  const [, onSameTarget, options = ''] = /^[^:]*(:.*:r[ow])(,.*)?$/.exec(volume) ?? [];
  const before = mounted.find((mount) => mount.startsWith('/') && mount.slice(mount.indexOf(':')) === onSameTarget);
  if (before !== undefined) return before + options;
  throw new AppError(
    'validation.manifest',
    `the source of the mount ${volume} depends on where compose was run; write the whole path`,
    { details: { volume } },
  );
}

function memoryOf(tmpfs: readonly WantedTmpfs[]): HostConfig {
  if (tmpfs.length === 0) return {};
  return { Tmpfs: Object.fromEntries(tmpfs.map(({ target, options }) => [target, options])) };
}

function powersAndLimits(config: WantedConfig): HostConfig {
  const { restart_policy, cap_add, cap_drop, privileged, mem_limit, cpus } = config;
  return {
    ...(restart_policy === undefined ? {} : { RestartPolicy: restartPolicy(restart_policy) }),
    ...(cap_add === undefined ? {} : { CapAdd: cap_add }),
    ...(cap_drop === undefined ? {} : { CapDrop: cap_drop }),
    ...(privileged === undefined ? {} : { Privileged: privileged }),
    ...(mem_limit === undefined ? {} : { Memory: mem_limit }),
    ...(cpus === undefined ? {} : { NanoCpus: cpus * 1_000_000 }),
  };
}

function restartPolicy(spelt: string): NonNullable<HostConfig['RestartPolicy']> {
  const [name = 'no', retries] = spelt.split(':');
  return retries === undefined ? { Name: name } : { Name: name, MaximumRetryCount: Number(retries) };
}

function healthcheckOf(wanted: WantedHealthcheck): Healthcheck {
  const nanoseconds = (ms: number): number => ms * 1_000_000;
  const { test, interval_ms, timeout_ms, start_period_ms, start_interval_ms, retries } = wanted;
  return {
    ...(test === undefined ? {} : { Test: test }),
    ...(interval_ms === undefined ? {} : { Interval: nanoseconds(interval_ms) }),
    ...(timeout_ms === undefined ? {} : { Timeout: nanoseconds(timeout_ms) }),
    ...(start_period_ms === undefined ? {} : { StartPeriod: nanoseconds(start_period_ms) }),
    ...(start_interval_ms === undefined ? {} : { StartInterval: nanoseconds(start_interval_ms) }),
    ...(retries === undefined ? {} : { Retries: retries }),
  };
}
